"""Protocol of a replay store: deliveries are claimed, then marked, so none is lost or doubled.

A delivery is claimed before it goes to the target (`claim`), and marked once the target has
accepted it (`done`), for as long as it could be repeated. If the target rejects it, the claim is
released (`release`), and the sender's next attempt is forwarded. If the gateway crashes in between,
the claim's lease ends. A lease is longer than a delivery can take, so no second delivery begins
meanwhile.

If a store is not certain, it raises an error, the delivery is not forwarded, and the sender
retries. A full store is unavailable too: evicting a mark would allow a replay.
"""

from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Protocol

from troth.webhooks.schemes.scheme import replay_of

CLOCK_SKEW = 60.0
"""Time in seconds for which a mark outlasts the endpoint's window: the clocks of two replicas may
differ by this much, so that a delivery which is stale for one is fresh for the other."""


class StoreUnavailableError(Exception):
    """The store cannot decide whether a delivery is new. The message says why, for the log."""


class Repeated(Enum):
    """Reason why a delivery is not new."""

    DONE = auto()
    """The target has accepted it."""
    IN_FLIGHT = auto()
    """It is on its way to the target, or was when a gateway crashed a short time ago."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """Claim of a delivery. Only the holder of its `token` can end it."""

    key: bytes = field(repr=False)
    token: bytes = field(repr=False)


class Store(Protocol):
    """Replay store. Each method raises `StoreUnavailableError`.

    After this error the operation may or may not have taken effect. Times are in seconds.
    """

    async def claim(self, key: bytes, lease: float) -> Claimed | Repeated:
        """Claim a delivery for the lease, if it is new."""

    async def done(self, claim: Claimed, window: float) -> None:
        """Mark a delivery as accepted for the window, even if its lease has ended.

        If another claim has been made since, that claim stays.
        """

    async def release(self, claim: Claimed) -> None:
        """Release a claim. If it has lapsed, a newer claim of the delivery stays."""

    async def close(self) -> None:
        """Close connections and files."""


def replay_key(uid: str, replay: bytes) -> bytes:
    """Return a delivery's key in the store: 32 bytes, of the endpoint's UID and `Verified.replay`.

    Because of the UID, an endpoint that is deleted and created again starts empty.
    """
    return replay_of(uid.encode(), replay)
