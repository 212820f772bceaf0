"""A reviewer, a consumer and their dead-letter topic at a real NATS."""

from pathlib import Path
from typing import Any

from nats.aio.client import Client
from nats.js.api import StorageType, StreamConfig

from sandbox.brokers.nats import account_creds
from tests.brokers.nats.stage import Stage, sent
from tests.edge.events.market import BUNDLES, Market, issued
from tests.edge.events.trade import ORDER, POLICY
from tests.edge.mounts import Mounts
from tests.patience import PATIENCE
from tests.review.desk import FAILED, REVIEWER, consumer, reviewed
from troth.brokers.nats.rules import inbox_prefix
from troth.clients.nats import NatsClient
from troth.edge.events.adapters.nats import EventClient
from troth.edge.events.bindings import nats
from troth.edge.events.consumption.dead_letters import DeadLetters
from troth.edge.events.message import Sealed
from troth.review.letters.reading import LetterReader
from troth.review.nats.topic import NatsTopic
from troth.trust.grants import Slot

TOPIC, LETTERS, RETRY, STREAM = "prod.orders", "prod.orders.dlq", "prod.retry", "LETTERS"


class Stand:
    """The files of checkout, fulfilment and the reviewer, and an account of one test."""

    def __init__(self, stage: Stage, path: Path) -> None:
        self.stage = stage
        self.market = Market(path, topic=TOPIC, group="fulfilment", type="nats", stream="ORDERS")
        self.reviewer = Mounts(path / "reviewer")
        entry = reviewed(
            topic=TOPIC,
            type="nats",
            stream="ORDERS",
            letters={"topic": LETTERS, "stream": STREAM},
            consumers=[consumer(group="fulfilment", retry={"topic": RETRY, "stream": "RETRY"})],
        )
        self.market.write(self.reviewer, issued(REVIEWER), REVIEWER, BUNDLES, [entry])
        self._numbers = iter(range(1, 1_000_000))
        self.witness: Client

    async def open(self, **config: Any) -> None:
        """Create the stream of dead letters; it has another subject too."""
        self.witness = await self.stage.witness()
        await self.make(STREAM, LETTERS, "prod.others", **config)

    async def make(self, stream: str, *subjects: str, **config: Any) -> None:
        given: dict[str, Any] = {"allow_direct": True, "storage": StorageType.MEMORY} | config
        jetstream = self.witness.jetstream(timeout=PATIENCE)
        await jetstream.add_stream(StreamConfig(name=stream, subjects=list(subjects), **given))

    def topic(self, principal: str = "", stored: bool = True) -> NatsTopic:
        """Return the topic, as a principal or as somebody who may do everything."""

        async def connect() -> NatsClient:
            creds = account_creds("reviewer", self.stage.account)
            inbox = "_INBOX"
            if principal:
                creds, inbox = self.stage.creds[principal, Slot.FIRST], inbox_prefix(principal)
            options: dict[str, Any] = {"allow_reconnect": True, "pending_size": 0}
            return await self.stage.enter(creds, inbox, EventClient(), **options)

        return NatsTopic(STREAM, LETTERS, connect, lambda _: "RETRY" if stored else None)

    def reader(self) -> LetterReader:
        return LetterReader(self.market.identity(self.reviewer), POLICY)

    def bury(self, data: bytes = ORDER) -> Sealed:
        """Return the dead letter of a new message."""
        sealed = self.market.seal()
        message = nats.read(
            TOPIC, nats.headers(sealed), data, sequence=next(self._numbers), stored_at=None
        )
        identity = self.market.identity(self.market.fulfilment)
        letter = DeadLetters(identity, POLICY).seal(message, FAILED)
        assert letter is not None
        return letter

    async def store(self, *letters: Sealed) -> None:
        """Store dead letters as a consumer does."""
        jetstream = self.witness.jetstream(timeout=PATIENCE)
        for each in letters:
            await jetstream.publish(each.topic, each.data, headers=nats.headers(each))

    async def store_raw(self, headers: bytes, data: bytes = b"") -> None:
        """Store a message with headers that no library writes."""
        size = len(headers)
        line = f"HPUB {LETTERS} {size} {size + len(data)}\r\n".encode()
        await self.witness._send_command(line + headers + data + b"\r\n")
        await sent(self.witness)
