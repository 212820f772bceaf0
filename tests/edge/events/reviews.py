"""A reviewer's worker: it has dead letters of fulfilment delivered again."""

from pathlib import Path
from typing import Any

from tests.edge.events.trade import (
    POLICY,
    TOPIC,
    Trade,
    bundle_map,
    delivered,
    leaf,
    published,
)
from tests.edge.mounts import SVID, Mounts, workload
from troth.edge.events.bindings import kafka
from troth.edge.events.consumption.dead_letters import DeadLetter, DeadLetterReader, DeadLetters
from troth.edge.events.consumption.steps import Consumed
from troth.edge.events.message import Message
from troth.edge.events.redrive import original_headers, redrive_id
from troth.edge.events.redriving import RedriveSealer
from troth.edge.events.rejection import Reason, Rejection
from troth.resources.references import Ref

REVIEWER, STRANGER = workload("dead-letters"), workload("stranger")
RETRY = "prod.orders.v1.retry"
LOST = Rejection(Reason.HANDLER_FAILED, "the handler raised OSError in attempt 3 of 3")
REVIEW = Ref("shop", "after-the-outage")


def reviewed(**changed: Any) -> dict[str, Any]:
    """The reviewer's entry in `messages`."""
    return published(
        **{
            "action": "Review",
            "principal": "troth-prod-shop-dead-letters",
            "deadLetter": {"topic": "prod.orders.v1.dlq", "review": "Required"},
        }
        | changed
    )


class Desk:
    """A reviewer with its mounted files, in a trade."""

    def __init__(self, trade: Trade, path: Path, spiffe_id: str = REVIEWER, **changed: Any) -> None:
        self.trade = trade
        self.spiffe_id = spiffe_id
        self.files = Mounts(path / spiffe_id.rpartition("/")[2])
        self.write(**changed)

    def write(self, own: SVID | None = None, *, bundles: Any = None, **changed: Any) -> None:
        """Write its files; `changed` are members of its entry."""
        own = own or leaf(self.spiffe_id, at=self.trade.clock())
        bundles = bundles or bundle_map()
        self.trade.write(self.files, own, self.spiffe_id, bundles, [reviewed(**changed)])

    def sealer(self) -> RedriveSealer:
        return RedriveSealer(self.trade.identity(self.files), POLICY, clock=self.trade.clock)

    def letter(self, message: Message, rejection: Rejection = LOST) -> DeadLetter:
        """The dead letter of a message that fulfilment rejected."""
        identity = self.trade.identity(self.trade.fulfilment)
        sealed = DeadLetters(identity, POLICY, clock=self.trade.clock).seal(message, rejection)
        assert sealed is not None
        found = DeadLetterReader(identity, POLICY, clock=self.trade.clock).read(delivered(sealed))
        assert isinstance(found, DeadLetter), found
        return found

    def header(self, letter: DeadLetter, **changed: Any) -> tuple[str, bytes]:
        given: dict[str, Any] = {
            "review": REVIEW,
            "requested_by": "alice",
            "approved_by": "bob",
            "count": 1,
            "target": RETRY,
            "redrive_id": redrive_id("uid", letter.id),
        }
        return self.sealer().header(letter, **(given | changed))

    def redriven(self, message: Message, **changed: Any) -> Message:
        """A message that fulfilment rejected, as the broker delivers it again.

        `changed` are options of the redrive, and `topic` and `stored_at` those of the delivery.
        """
        topic = changed.pop("topic", changed.get("target", RETRY))
        place = {
            "partition": changed.pop("partition", 0),
            "offset": changed.pop("offset", 90),
            "stored_at": changed.pop("stored_at", self.trade.clock()),
        }
        headers = self.headers(self.letter(message), **changed)
        return kafka.read(topic, headers, message.data, **place)

    def headers(self, letter: DeadLetter, **changed: Any) -> list[tuple[str, bytes]]:
        """All headers of the message of a letter that is delivered again."""
        return [*original_headers(letter.message.headers), self.header(letter, **changed)]


def placed(
    trade: Trade, *, offset: int = 7, stored_at: float | None = None, **options: Any
) -> Message:
    """An order as Kafka delivers it the first time."""
    sealed = trade.seal(**options)
    stored = trade.clock() if stored_at is None else stored_at
    headers = [*kafka.headers(sealed), ("x-trace", b"7")]
    return kafka.read(TOPIC, headers, sealed.data, partition=0, offset=offset, stored_at=stored)


def accepting(trade: Trade, *, retry: bool = True, **changed: Any) -> None:
    """Write fulfilment's files: it accepts redrives of the reviewer."""
    own = {"retry": {"topic": RETRY}} if retry else {}
    trade.consume(**({"reviewers": [REVIEWER]} | own | changed))


class Counts:
    """Hooks that keep the outcomes of messages."""

    def __init__(self) -> None:
        self.outcomes: list[str] = []

    def consumed(self, consumed: Consumed) -> None:
        self.outcomes.append(str(consumed.outcome))

    def waited(self, reason: str, seconds: float) -> None: ...
