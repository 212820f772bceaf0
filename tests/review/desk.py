"""A trade with a reviewer: its mounted files, and dead letters as the broker stores them."""

from pathlib import Path
from typing import Any

from tests.edge.events.trade import FULFILMENT, POLICY, Trade, leaf, published
from tests.edge.mounts import Mounts, workload
from troth.edge.events.bindings import kafka
from troth.edge.events.consumption.dead_letters import DeadLetter, DeadLetterReader, DeadLetters
from troth.edge.events.message import Message, Sealed
from troth.edge.events.redrive import original_headers, redrive_id
from troth.edge.events.redriving import RedriveSealer
from troth.edge.events.rejection import Reason, Rejection
from troth.resources.references import Ref
from troth.review.letters.digest import digest_of
from troth.review.letters.letter import Letter, Position

REVIEWER = workload("reviewer")
BILLING = workload("billing")
DLQ = "prod.orders.v1.dlq"
RETRY = "prod.orders.v1.retry.fulfilment"
GROUP = "prod.fulfilment"
FAILED = Rejection(Reason.HANDLER_FAILED, "the handler failed")


def consumer(**changed: Any) -> dict[str, Any]:
    """Fulfilment, as the reviewer's entry names it."""
    entry = {"spiffeIDs": [FULFILMENT], "group": GROUP, "retry": {"topic": RETRY}} | changed
    return {name: each for name, each in entry.items() if each is not None}


def reviewed(**changed: Any) -> dict[str, Any]:
    """The reviewer's entry in `messages`."""
    letters = {"topic": DLQ, "review": "Required", "approvals": 1, "redriveLimit": 3}
    return published(
        **{
            "action": "Review",
            "principal": "troth-prod-shop-reviewer",
            "producers": [workload("checkout")],
            "deadLetter": letters | changed.pop("letters", {}),
            "consumers": [consumer()],
        }
        | changed
    )


class Desk(Trade):
    """Checkout, fulfilment, and the reviewer of their policy."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.reviewer = Mounts(path / "reviewer")
        self.review()

    def review(self, *, at: float | None = None, **changed: Any) -> None:
        """Write the reviewer's files; `changed` are members of its entry."""
        own = leaf(REVIEWER, at=self.now if at is None else at)
        self.write(self.reviewer, own, REVIEWER, None, [reviewed(**changed)])

    def forbid(self) -> None:
        """Take the reviewer's entry away."""
        self.write(self.reviewer, leaf(REVIEWER, at=self.now), REVIEWER, None, [])

    def bury(self, message: Message, rejection: Rejection = FAILED, **options: Any) -> Sealed:
        """Return the dead letter of a message."""
        identity = self.identity(self.fulfilment)
        letters = DeadLetters(identity, POLICY, clock=self.clock)
        sealed = letters.seal(message, rejection, **options)
        assert sealed is not None
        return sealed


def as_delivered(sealed: Sealed, offset: int = 0, **changed: Any) -> Message:
    """An event as Kafka delivers it, in partition 0."""
    place: dict[str, Any] = {"partition": 0, "offset": offset} | changed
    topic = place.pop("topic", sealed.topic)
    return kafka.read(topic, kafka.headers(sealed), sealed.data, **place)


def dead_letter(desk: Desk, sealed: Sealed, offset: int = 0) -> DeadLetter:
    """Return a dead letter as the consumer itself reads it."""
    reader = DeadLetterReader(
        desk.identity(desk.fulfilment), POLICY, consumers=[FULFILMENT], clock=desk.clock
    )
    read = reader.read(as_delivered(sealed, offset))
    assert isinstance(read, DeadLetter), read
    return read


def letter(found: DeadLetter, offset: int = 0, **changed: Any) -> Letter:
    """Return a dead letter as the index knows it."""
    message = found.message
    fields: dict[str, Any] = {
        "id": found.id,
        "policy": Ref("shop", "orders"),
        "position": Position(0, offset),
        "time": found.time,
        "consumer": found.consumer,
        "group": GROUP,
        "reason": str(found.rejection.reason),
        "origin": found.origin,
        "attempts": found.attempts,
        "digest": digest_of(message),
        "size": len(message.data or b""),
    }
    return Letter(**(fields | changed))


def redriven(desk: Desk, found: DeadLetter, *, count: int = 1, target: str = RETRY) -> Message:
    """The message of a letter as the broker delivers it again."""
    header = RedriveSealer(desk.identity(desk.reviewer), POLICY, clock=desk.clock).header(
        found,
        review="shop/orders-fix",
        requested_by="alice",
        approved_by="bob",
        count=count,
        target=target,
        redrive_id=redrive_id("uid", found.id),
    )
    headers = [*original_headers(found.message.headers), header]
    place: dict[str, Any] = {"partition": 0, "offset": 90 + count, "stored_at": desk.now}
    return kafka.read(target, headers, found.message.data, **place)
