"""Which deliveries were let through already: claimed in two steps, so that none is lost or doubled.

A delivery is claimed before it goes to the target (`claim`), and marked when the target has taken
it (`done`), for as long as it could be sent again. If the target did not take it the claim is given
up (`release`), and the sender's next try goes through. If the gateway dies in between, the claim
lapses with its lease; a lease is longer than a delivery can take, so nobody else begins meanwhile.

What a store does not know for sure it does not let through: it is unavailable, and the sender tries
again. So is one that is full, for what it would have to forget is what keeps a delivery from being
taken twice.
"""

from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Protocol

from troth.webhooks.schemes.scheme import replay_of

CLOCK_SKEW = 60.0
"""Seconds that a mark is kept beyond the window of its endpoint: by as much may the clocks of two
replicas differ, and what is stale to one is fresh to the other."""


class StoreUnavailableError(Exception):
    """The store cannot say whether a delivery is new; the sentence says why, for the log."""


class Repeated(Enum):
    """Why a delivery is not new."""

    DONE = auto()
    """The target has taken it."""
    IN_FLIGHT = auto()
    """It is on its way to the target, or was when a gateway died a short time ago."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """A claim, and by `token` whose it is: nobody ends another's."""

    key: bytes = field(repr=False)
    token: bytes = field(repr=False)


class Store(Protocol):
    """What remembers deliveries; each method raises `StoreUnavailableError`.

    After that it is open whether what was asked has been done. Times are in seconds.
    """

    async def claim(self, key: bytes, lease: float) -> Claimed | Repeated:
        """Claim a delivery, if it is new, for as long as the lease."""

    async def done(self, claim: Claimed, window: float) -> None:
        """Mark a delivery as taken, for so long; also where the lease has lapsed meanwhile.

        Where it has lapsed and somebody else has claimed it since, that claim stays.
        """

    async def release(self, claim: Claimed) -> None:
        """Give up a claim; one that has lapsed stays as it is, whosever it is by now."""

    async def close(self) -> None:
        """Let go of what the store holds open."""


def replay_key(uid: str, replay: bytes) -> bytes:
    """Return what a delivery is remembered by: 32 bytes, of the endpoint's UID and the scheme's
    `Verified.replay`. With the UID, an endpoint that is made anew begins anew.
    """
    return replay_of(uid.encode(), replay)
