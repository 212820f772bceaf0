"""A broker's message as an event, before it is verified and after it is sealed."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from troth.edge.events.rejection import Rejection


@dataclass(frozen=True, slots=True)
class Message:
    """Received message; nothing of it is verified.

    `topic` is the topic or subject from which the broker delivered it. `attributes` are those of
    CloudEvents by name. `stored_at` is the time at which the broker stored it, in seconds since the
    epoch, None if the broker does not say. `partition` and `offset` are its place in the topic:
    in NATS there is no partition, and the offset is the stream's sequence number. `headers` are the
    broker's headers unchanged. With a `fault`, the headers could not be read, and `attributes` is
    empty.
    """

    topic: str
    attributes: Mapping[str, str] = field(repr=False)
    data: bytes | None = field(repr=False)
    stored_at: float | None = None
    partition: int | None = None
    offset: int | None = None
    headers: tuple[tuple[str, bytes], ...] = field(default=(), repr=False)
    fault: Rejection | None = None

    @property
    def origin(self) -> str:
        """Place of the message: `<topic>[/<partition>]@<offset>`, or the topic alone."""
        partition = f"/{self.partition}" if self.partition is not None else ""
        return f"{self.topic}{partition}@{self.offset}" if self.offset is not None else self.topic


@dataclass(frozen=True, slots=True)
class Sealed:
    """Sealed event: its topic, the attributes by name, and its data."""

    topic: str
    attributes: Mapping[str, str] = field(repr=False)
    data: bytes = field(repr=False)
