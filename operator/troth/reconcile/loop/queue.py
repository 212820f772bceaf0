"""The work queue: keys, each at most once, never worked twice at once.

What issuers may issue goes before everything else: it is how an edge that is taken back closes for
tokens, and it must not wait behind a fleet. Failures come back with exponential backoff and jitter.
What is due in the future (renewals, expiries) is a heap of due times, not one timer per object.
"""

import asyncio
import heapq
import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from troth.cluster.informer import Backoff
from troth.reconcile.loop.clock import Clock
from troth.world.keys import ISSUER_VIEW, Key

MANY = 100
"""Keys that are done in a moment, if each takes a write or two."""


@dataclass(frozen=True, slots=True, order=True)
class _Due:
    """When a key is to come back: at a moment, or after as long as that was away. A clock that is
    set back must not delay what only had to wait.
    """

    at: datetime
    uptime: float
    key: Key


class WorkQueue:
    """Hands out keys to workers. All methods belong to one event loop."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ready: asyncio.PriorityQueue[tuple[bool, int, Key]] = asyncio.PriorityQueue()
        self._numbers = itertools.count()
        self._waiting: set[Key] = set()
        self._working: set[Key] = set()
        self._again: set[Key] = set()
        self._backoffs: dict[Key, Backoff] = {}
        self._retries: dict[Key, asyncio.TimerHandle] = {}
        self._due: dict[Key, _Due] = {}
        self._by_clock: list[_Due] = []
        self._by_uptime: list[tuple[float, _Due]] = []
        self._due_changed = asyncio.Event()
        self._released = asyncio.Event()

    def __len__(self) -> int:
        return len(self._waiting) + len(self._working)

    @property
    def rushed(self) -> bool:
        """Whether more is waiting than is done in a moment."""
        return len(self._waiting) > MANY

    async def settled(self) -> None:
        """Wait until nothing is waiting or being worked on; what is to be retried later may be."""
        while len(self):
            self._released.clear()
            await self._released.wait()

    def add(self, keys: Iterable[Key]) -> None:
        """Have keys worked on as soon as possible, of those that come together the brokers first
        and the endpoints of webhooks last: the others wait for what comes of the former, and the
        latter for what their targets are told.
        """
        for key in sorted(keys, key=_turn):
            if key in self._working:
                self._again.add(key)
            elif key not in self._waiting:
                self._waiting.add(key)
                later = key.kind != ISSUER_VIEW
                self._ready.put_nowait((later, next(self._numbers), key))

    async def get(self) -> Key:
        """Wait for a key and take it; every `get` is answered by `done` or `retry`."""
        _, _, key = await self._ready.get()
        self._waiting.discard(key)
        self._working.add(key)
        retry = self._retries.pop(key, None)
        if retry is not None:
            retry.cancel()
        return key

    def caught_up(self, key: Key) -> None:
        """Say that all that a key was added for until now is known to whoever works on it."""
        self._again.discard(key)

    def got_on(self, key: Key) -> None:
        """Say that what a key failed at is over: another failure is a first one."""
        self._backoffs.pop(key, None)

    def done(self, key: Key, due: datetime | None) -> None:
        """Say that a key is settled until it changes, or until `due`."""
        self._backoffs.pop(key, None)
        self._set_due(key, due)
        self._release(key)

    def retry(self, key: Key) -> None:
        """Say that a key failed and shall be tried again later."""
        delay = self._backoffs.setdefault(key, Backoff(most=60.0)).next()
        self._retries[key] = asyncio.get_running_loop().call_later(delay, self._retry_now, key)
        self._again.discard(key)  # the retry sees what came meanwhile, and no sooner
        self._release(key)

    async def run_due(self) -> None:
        """Bring keys back when they are due, until cancelled."""
        while True:
            self._due_changed.clear()
            self._forget_superseded()
            if not self._by_clock:
                await self._due_changed.wait()
                continue
            first, (uptime, sooner) = self._by_clock[0], self._by_uptime[0]
            if first.at <= self._clock.now():
                self._come_back(first)
                continue
            if uptime <= self._clock.uptime():
                self._come_back(sooner)
                continue
            sleeping = asyncio.ensure_future(self._clock.until(first.at, uptime))
            changed = asyncio.ensure_future(self._due_changed.wait())
            try:
                await asyncio.wait({sleeping, changed}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                sleeping.cancel()
                changed.cancel()

    def _come_back(self, due: _Due) -> None:
        del self._due[due.key]
        self.add([due.key])

    def _forget_superseded(self) -> None:
        """Drop from the head of both heaps what came back, or is due at another time now."""
        while self._by_clock and not self._stands(self._by_clock[0]):
            heapq.heappop(self._by_clock)
        while self._by_uptime and not self._stands(self._by_uptime[0][1]):
            heapq.heappop(self._by_uptime)

    def _stands(self, due: _Due) -> bool:
        return self._due.get(due.key) is due

    def _set_due(self, key: Key, moment: datetime | None) -> None:
        known = self._due.get(key)
        if moment is None:
            self._due.pop(key, None)
        elif known is None or known.at != moment:
            away = (moment - self._clock.now()).total_seconds()
            due = self._due[key] = _Due(moment, self._clock.uptime() + away, key)
            heapq.heappush(self._by_clock, due)
            heapq.heappush(self._by_uptime, (due.uptime, due))
            self._due_changed.set()

    def _retry_now(self, key: Key) -> None:
        self._retries.pop(key, None)
        self.add([key])

    def _release(self, key: Key) -> None:
        self._working.discard(key)
        if key in self._again:
            self._again.discard(key)
            self.add([key])
        self._released.set()


_TURNS = {"MessageBroker": 0, "WebhookEndpoint": 2}


def _turn(key: Key) -> int:
    return _TURNS.get(key.kind, 1)
