"""Protocol of a replay store: items are claimed, then marked, so none is lost or doubled.

An item is a delivery of a webhook or an event of a broker. It is claimed before it is handed on
(`claim`), and marked once it was accepted (`done`), for as long as it could be repeated. If it was
not accepted, the claim is released (`release`), and the next attempt is handed on. If the process
crashes in between, the claim's lease ends. A lease is longer than the handling of an item can take,
so no second one begins meanwhile.

If a store is not certain, it raises an error, the item is not handed on, and its sender or broker
tries again. A full store is unavailable too: evicting a mark would allow a replay.
"""

from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Protocol

MOST_BYTES = 64
"""Maximum size in bytes of the value of a mark."""


class StoreUnavailableError(Exception):
    """The store cannot decide whether an item is new. The message says why, for the log."""


class Repeated(Enum):
    """Reason why an item is not new."""

    DONE = auto()
    """It was accepted."""
    IN_FLIGHT = auto()
    """It is being handled, or was when a process crashed a short time ago."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """Claim of an item. Only the holder of its `token` can end it."""

    key: bytes = field(repr=False)
    token: bytes = field(repr=False)


class Store(Protocol):
    """Replay store. Each method raises `StoreUnavailableError`.

    After this error the operation may or may not have taken effect. Times are in seconds.
    """

    async def claim(self, key: bytes, lease: float) -> Claimed | Repeated:
        """Claim an item for the lease, if it is new. The key is a digest."""

    async def done(self, claim: Claimed, window: float, value: bytes = b"") -> None:
        """Mark an item as accepted for the window, even if its lease has ended.

        If another claim or mark has been made since, that one stays. The mark keeps `value`, at
        most `MOST_BYTES`, in the same write.
        """

    async def value(self, key: bytes) -> bytes | None:
        """Return the value of an item's mark, None if it has no mark."""

    async def release(self, claim: Claimed) -> None:
        """Release a claim. If it has lapsed, a newer claim of the item stays."""

    async def close(self) -> None:
        """Close connections and files."""
