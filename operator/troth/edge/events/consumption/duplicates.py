"""Duplicates of events: each is handled at least once, and a copy of a handled event is recognised.

An event is claimed before it is handled, and marked once it was, with its position in its log. So
a consumer that crashes before it commits recognises the event when the broker delivers it again
from the same position, while a copy at another position is a duplicate.

| what is known | `begin` returns |
| --- | --- |
| nothing | a claim |
| the event was handled from this position | `Seen.REDELIVERED`: commit it |
| the event was handled from another position | `Seen.DUPLICATE`: reject it |
| another consumer handles it, or did when it crashed | `Seen.IN_FLIGHT`: try again later |

If the store is unavailable, `begin` and `done` raise `StoreUnavailableError`: the event must not be
handled, and its message must not be committed. A claim ends with its lease, and a crash between
handling and `done` means that the event is handled again.

A store needs room for all events of a window: about 300 bytes for each in memory, and 140 in
Valkey. A window that is shorter than the maximum age of events allows an older copy.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256
from typing import Protocol

from troth.documents.event_bundles import TOLERANCE
from troth.replay.store import Claimed, Repeated, Store, StoreUnavailableError

PREFIX = "troth:event:"
"""Prefix of the keys of events in Valkey: `Valkey(url, prefix=PREFIX)`."""
LEASE = 60.0
"""Default length of a claim in seconds. It should be longer than an event is handled, because
another copy may be handled once it has ended. After a crash the event waits for as long."""


class Seen(StrEnum):
    """What is known about an event that cannot be claimed."""

    REDELIVERED = "Redelivered"
    """The event was handled from this position."""
    DUPLICATE = "Duplicate"
    """The event was handled from another position."""
    IN_FLIGHT = "InFlight"
    """Another consumer handles the event, or did when it crashed a short time ago."""


class Identified(Protocol):
    """The part of an event that identifies it."""

    @property
    def policy(self) -> str:
        """Policy of the event, as `<namespace>/<name>`."""

    @property
    def topic(self) -> str:
        """Topic for which the event was sealed."""

    @property
    def actor(self) -> str:
        """SPIFFE ID of the producer."""

    @property
    def id(self) -> str:
        """ID that the producer gave the event."""


@dataclass(frozen=True, slots=True)
class Claim:
    """Claim of an event that is being handled."""

    _store: Store = field(repr=False)
    _claimed: Claimed
    _window: float
    _place: bytes = field(repr=False)

    async def done(self) -> None:
        """Mark the event as handled. Then its message may be committed.

        Raises `StoreUnavailableError`: then call it again. It may be called any number of times.
        """
        await self._store.done(self._claimed, self._window, self._place)

    async def release(self) -> None:
        """Give up the claim, because the event was not handled. Raises nothing: a lease ends."""
        try:
            await self._store.release(self._claimed)
        except StoreUnavailableError:
            return


class Duplicates:
    """Memory of the events that a consumer group has handled."""

    def __init__(self, store: Store, window: float, *, group: str, lease: float = LEASE) -> None:
        """Create the memory.

        `window` is the time in seconds for which an event is remembered; `window_of` returns it for
        a policy's `maxAge`. `group` is the consumer group. Without one, use a name that only the
        consumers share of which one alone handles an event.
        """
        if window <= 0 or lease <= 0:
            raise ValueError("write a window and a lease of more than 0 seconds")
        self.store = store
        self._window = window
        self._group = group
        self._lease = lease

    async def begin(self, event: Identified, position: str) -> Claim | Seen:
        """Claim an event; raises `StoreUnavailableError`.

        `position` is the place of the message in its log, such as `<topic>/<partition>@<offset>`.
        It is empty if no log has it; then no message is delivered again.
        """
        key, place = self._key(event), _place(position)
        while True:
            found = await self.store.claim(key, self._lease)
            if isinstance(found, Claimed):
                return Claim(self.store, found, self._window, place)
            if found is Repeated.IN_FLIGHT:
                return Seen.IN_FLIGHT
            marked = await self.store.value(key)
            if marked is not None:  # else its window has just ended
                return Seen.REDELIVERED if place and marked == place else Seen.DUPLICATE

    async def close(self) -> None:
        """Close the store."""
        await self.store.close()

    def _key(self, event: Identified) -> bytes:
        return _digest(self._group, event.policy, event.topic, event.actor, event.id)


def window_of(max_age: float) -> float:
    """Return the time in seconds for which an event must be remembered to recognise every copy.

    The clock of its producer may be ahead by the tolerance, and the one of a consumer behind.
    """
    return max_age + 2 * TOLERANCE


def _place(position: str) -> bytes:
    return _digest(position)[:16] if position else b""


def _digest(*parts: str) -> bytes:
    digest = sha256()
    for part in parts:
        encoded = part.encode("utf-8", "surrogatepass")
        digest.update(len(encoded).to_bytes(8))
        digest.update(encoded)
    return digest.digest()
