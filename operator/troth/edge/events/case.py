"""What is known about a message while its checks run."""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple

from troth.edge.events.event import Event
from troth.edge.events.message import Message
from troth.edge.events.redrive import Redrive
from troth.edge.events.rights import Rights
from troth.edge.events.seal.envelope import Seal
from troth.edge.events.seal.producers import Producer
from troth.edge.identity.snapshot import Snapshot
from troth.edge.identity.svid import SVID
from troth.pki.tokens.checks import TransactionToken


class Terms(NamedTuple):
    """Rights of one snapshot, with the function that verifies producers by its bundles."""

    rights: Rights
    producer: Callable[[str], Producer]


class Case:
    """What is known about a message while its checks run."""

    __slots__ = (
        "actor",
        "attributes",
        "data",
        "message",
        "now",
        "payload",
        "producer",
        "redrive",
        "rights",
        "seal",
        "snapshot",
        "terms",
        "time",
        "token",
    )

    terms: Terms
    rights: Rights
    seal: Seal
    producer: Producer
    data: bytes
    time: float

    def __init__(self, message: Message, snapshot: Snapshot, now: float) -> None:
        self.message = message
        self.attributes = message.attributes
        self.snapshot = snapshot
        self.now = now
        self.actor: str | None = None
        self.payload: Any = None
        self.redrive: Redrive | None = None
        self.token: TransactionToken | None = None

    @property
    def svid(self) -> SVID:
        """Verified leaf of the producer."""
        return self.producer.svid

    def event(self) -> Event:
        """Return the event of a message that passed every check."""
        attributes = self.attributes
        return Event(
            id=attributes["id"],
            type=attributes["type"],
            actor=self.svid.spiffe_id,
            subject=attributes.get("authid"),
            tenant=attributes.get("trothtenant"),
            request_id=attributes.get("trothtxn"),
            time=_moment(self.time),
            topic=attributes["trothtopic"],
            policy=attributes["trothpolicy"],
            about=attributes.get("subject"),
            content_type=attributes["datacontenttype"],
            data=self.data,
            payload=self.payload,
            redrive=self.redrive,
        )


@lru_cache(maxsize=64)
def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
