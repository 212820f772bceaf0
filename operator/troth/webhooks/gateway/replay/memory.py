"""The store of a gateway that has no second replica: what it remembers, nobody else knows.

It holds so many deliveries and no more, and what it holds is never given up for room: full is
unavailable. After a restart it knows nothing, so what was delivered before can be delivered again
while it is fresh; where that matters, Valkey is for it.
"""

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from troth.webhooks.gateway.replay.store import Claimed, Repeated, StoreUnavailableError

MOST = 1_000_000
"""Deliveries that are remembered; each takes some 200 bytes."""
_TABLES = 256
"""One for each first byte of a key, which is a digest."""


@dataclass(slots=True)
class _Held:
    token: bytes = field(repr=False)
    until: int


class Memory:
    """Remembers in this process.

    Everything lapses at a whole second, and what lapses at one stands in one list: so nothing is
    searched or sorted, and each entry is looked at once when its time has come.

    What is done is in many tables. A table from which as much goes as comes is written anew every
    so often; one of a million entries holds up everybody meanwhile, and takes its room twice.
    """

    def __init__(self, most: int = MOST, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._clock = clock
        self._held: dict[bytes, _Held] = {}
        self._done: tuple[dict[bytes, int], ...] = tuple({} for _ in range(_TABLES))
        self._done_count = 0
        self._lapsing: dict[int, list[bytes]] = {}
        self._swept = int(clock())

    @property
    def remembered(self) -> int:
        """How many deliveries are remembered."""
        return len(self._held) + self._done_count

    async def claim(self, key: bytes, lease: float) -> Claimed | Repeated:
        """Claim a delivery; raises `StoreUnavailableError` where there is no room for it."""
        now = int(self._clock())
        if now > self._swept:
            self._sweep(now)
        if key in self._done[key[0]]:
            return Repeated.DONE
        if key in self._held:
            return Repeated.IN_FLIGHT
        if self.remembered >= self._most:
            raise StoreUnavailableError(
                f"the memory of the replay store is full with {self._most} deliveries"
            )
        claim = Claimed(key, secrets.token_bytes(8))
        self._held[key] = _Held(claim.token, self._lapse(key, lease))
        return claim

    async def done(self, claim: Claimed, window: float) -> None:
        """Mark a delivery as taken."""
        held = self._held.get(claim.key)
        if held is not None and held.token != claim.token:
            return
        self._held.pop(claim.key, None)
        table = self._done[claim.key[0]]
        self._done_count += claim.key not in table
        table[claim.key] = self._lapse(claim.key, window)

    async def release(self, claim: Claimed) -> None:
        """Give up a claim."""
        held = self._held.get(claim.key)
        if held is not None and held.token == claim.token:
            del self._held[claim.key]

    async def close(self) -> None:
        """Nothing is open."""

    def _lapse(self, key: bytes, seconds: float) -> int:
        second = int(self._clock() + seconds) + 1
        self._lapsing.setdefault(second, []).append(key)
        return second

    def _sweep(self, now: int) -> None:
        """Drop what has lapsed; what was kept anew since stands in a later list as well."""
        # After a long silence there are fewer lists than seconds.
        few = now - self._swept < len(self._lapsing)
        due = range(self._swept + 1, now + 1) if few else sorted(self._lapsing)
        self._swept = now
        for second in due:
            if second > now:
                break
            for key in self._lapsing.pop(second, ()):
                table = self._done[key[0]]
                if table.get(key, now + 1) <= now:
                    del table[key]
                    self._done_count -= 1
                held = self._held.get(key)
                if held is not None and held.until <= now:
                    del self._held[key]
