"""Replay store in memory, for a gateway or a consumer with a single replica.

The number of items is limited, and none is evicted: a full store is unavailable. After a restart it
is empty, so an item that is still fresh can be repeated. Use Valkey if that matters.
"""

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from troth.replay.store import Claimed, Repeated, StoreUnavailableError

MOST = 1_000_000
"""Maximum number of items; each takes about 200 bytes, and 100 more if its mark has a value."""
_TABLES = 256
"""One table for each value of a key's first byte; a key is a digest."""


@dataclass(slots=True)
class _Held:
    token: bytes = field(repr=False)
    until: int


class Memory:
    """Replay store in this process.

    Entries lapse at whole seconds, and those that lapse at the same second are in one list. So
    nothing is searched or sorted, and each entry is visited once, when it lapses.

    Marks are spread over many tables, because a dict with as many insertions as deletions is
    rebuilt from time to time. Rebuilding one with a million entries would block the event loop and
    need twice the memory.
    """

    def __init__(self, most: int = MOST, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._clock = clock
        self._held: dict[bytes, _Held] = {}
        self._done: tuple[dict[bytes, int], ...] = tuple({} for _ in range(_TABLES))
        self._values: tuple[dict[bytes, bytes], ...] = tuple({} for _ in range(_TABLES))
        self._done_count = 0
        self._lapsing: dict[int, list[bytes]] = {}
        self._swept = int(clock())

    @property
    def remembered(self) -> int:
        """Number of items in the store."""
        return len(self._held) + self._done_count

    async def claim(self, key: bytes, lease: float) -> Claimed | Repeated:
        """Claim an item; raises `StoreUnavailableError` if the store is full."""
        now = int(self._clock())
        if now > self._swept:
            self._sweep(now)
        if key in self._done[key[0]]:
            return Repeated.DONE
        if key in self._held:
            return Repeated.IN_FLIGHT
        if self.remembered >= self._most:
            raise StoreUnavailableError(
                f"the memory of the replay store is full with {self._most} items"
            )
        claim = Claimed(key, secrets.token_bytes(8))
        self._held[key] = _Held(claim.token, self._lapse(key, lease))
        return claim

    async def done(self, claim: Claimed, window: float, value: bytes = b"") -> None:
        """Mark an item as accepted, unless a later claim of it is still held."""
        held = self._held.get(claim.key)
        if held is not None and held.token != claim.token and held.until > int(self._clock()):
            return
        self._held.pop(claim.key, None)
        table = self._done[claim.key[0]]
        if claim.key not in table:
            self._done_count += 1
            if value:
                self._values[claim.key[0]][claim.key] = value
        table[claim.key] = self._lapse(claim.key, window)

    async def value(self, key: bytes) -> bytes | None:
        """Return the value of an item's mark, None if it has no mark."""
        return self._values[key[0]].get(key, b"") if key in self._done[key[0]] else None

    async def release(self, claim: Claimed) -> None:
        """Release a claim."""
        held = self._held.get(claim.key)
        if held is not None and held.token == claim.token:
            del self._held[claim.key]

    async def close(self) -> None:
        """Do nothing: there is nothing to close."""

    def _lapse(self, key: bytes, seconds: float) -> int:
        second = int(self._clock() + seconds) + 1
        self._lapsing.setdefault(second, []).append(key)
        return second

    def _sweep(self, now: int) -> None:
        """Remove lapsed entries; one that was extended is also in a later list."""
        # After a long idle time there are fewer lists than seconds.
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
                    self._values[key[0]].pop(key, None)
                    self._done_count -= 1
                held = self._held.get(key)
                if held is not None and held.until <= now:
                    del self._held[key]
