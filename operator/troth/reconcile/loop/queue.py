"""The work queue: each key at most once, and never worked on by two workers.

Issuer views have priority: they close a revoked edge for tokens, and must not wait behind a large
fleet. Failed keys are retried with exponential backoff and jitter. A heap holds the due times of
future work such as renewals and expiries, instead of one timer per key.
"""

import asyncio
import heapq
import itertools
from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime

from troth.cluster.watching.backoff import Backoff
from troth.reconcile.runtime.clock import Clock
from troth.world.keys import ISSUER_VIEW, Key

MANY = 100
"""Number of keys that take only a moment, if each needs a write or two."""


@dataclass(frozen=True, slots=True, order=True)
class _Due:
    """Time of a requeue: a wall-clock time, or the uptime that it corresponded to.

    The uptime keeps a clock that is set back from delaying the key.
    """

    at: datetime
    uptime: float
    key: Key


class WorkQueue:
    """Hands out keys to workers. Use it from one event loop only."""

    def __init__(
        self,
        clock: Clock,
        on_taken: Callable[[str, float], None] = lambda _kind, _waited: None,
        takes: Callable[[Key], bool] = lambda _: True,
    ) -> None:
        """`on_taken` gets the kind of each key that a worker takes, and the seconds it waited.

        `takes` returns whether workers take a key. One that they do not take is put aside.
        """
        self._clock = clock
        self._on_taken = on_taken
        self._takes = takes
        self._ready: asyncio.PriorityQueue[tuple[bool, int, Key]] = asyncio.PriorityQueue()
        self._numbers = itertools.count()
        self._waiting: dict[Key, float] = {}
        """Uptime at which each key was queued."""
        self._taken_from = 0.0
        """Uptime from which workers take keys: before that, this replica was a standby."""
        self._working: set[Key] = set()
        self._aside: set[Key] = set()
        self._held: set[Key] = set()
        self._again: set[Key] = set()
        self._backoffs: dict[Key, Backoff] = {}
        self._retries: dict[Key, asyncio.TimerHandle] = {}
        self._due: dict[Key, _Due] = {}
        self._by_clock: list[_Due] = []
        self._by_uptime: list[tuple[float, _Due]] = []
        self._due_changed = asyncio.Event()
        self._released = asyncio.Event()

    def __len__(self) -> int:
        return len(self._waiting) + len(self._working) + len(self._held)

    @property
    def working(self) -> AbstractSet[Key]:
        """Keys that workers have taken."""
        return self._working

    @property
    def rushed(self) -> bool:
        """Whether more keys wait than take only a moment."""
        return len(self._waiting) > MANY

    @property
    def oldest_wait(self) -> float:
        """Seconds for which the key that waits longest has waited for a worker, 0 without one."""
        return self._waited(min(self._waiting.values())) if self._waiting else 0.0

    def count_waits_from_now(self) -> None:
        """Record that workers take keys from now on: a wait on a standby is none."""
        self._taken_from = self._clock.uptime()

    async def settled(self) -> None:
        """Wait until no key waits or is worked on. Keys in backoff do not count."""
        while len(self):
            self._released.clear()
            await self._released.wait()

    def add(self, keys: Iterable[Key], changed: Key | None = None) -> None:
        """Queue keys as soon as possible.

        Of the keys added together, brokers come first, because the others depend on their outcome.
        Webhook endpoints come last, because they depend on their targets. `changed` is the key of
        the object that changed, which comes before its peers: its own objects are to follow first.
        """
        for key in sorted(keys, key=lambda each: (_turn(each), each != changed)):
            self._held.discard(key)
            if key in self._working:
                self._again.add(key)
            elif key not in self._waiting and key not in self._aside:
                self._waiting[key] = self._clock.uptime()
                later = key.kind != ISSUER_VIEW
                self._ready.put_nowait((later, next(self._numbers), key))

    async def get(self) -> Key:
        """Wait for a key and take it.

        The worker must answer with `done`, `hold`, `retry` or `put_back`.
        """
        while not self._takes(key := (await self._ready.get())[-1]):
            del self._waiting[key]
            self._aside.add(key)
            self._released.set()
        self._working.add(key)
        self._on_taken(key.kind, self._waited(self._waiting.pop(key)))
        retry = self._retries.pop(key, None)
        if retry is not None:
            retry.cancel()
        return key

    def resume(self) -> None:
        """Queue the keys that were put aside and that workers take now."""
        taken = set(filter(self._takes, self._aside))
        self._aside -= taken
        self.add(taken)

    def caught_up(self, key: Key) -> None:
        """Record that the worker has seen every change that the key was queued for so far."""
        self._again.discard(key)

    def got_on(self, key: Key) -> None:
        """Reset the backoff of a key, because it progressed or the failure's cause is gone."""
        self._backoffs.pop(key, None)

    def done(self, key: Key, due: datetime | None) -> None:
        """Record that a key is reconciled until it changes, or until `due`."""
        self._backoffs.pop(key, None)
        self._set_due(key, due)
        self._release(key)

    def hold(self, key: Key, due: datetime | None) -> None:
        """Record that a key continues when somebody adds it, at the latest at `due`.

        Until then it counts as waiting.
        """
        self._set_due(key, due)
        self._held.add(key)
        self._release(key)

    def retry(self, key: Key) -> None:
        """Record that a key failed, and retry it after a backoff."""
        delay = self._backoffs.setdefault(key, Backoff(most=60.0)).next()
        self._retries[key] = asyncio.get_running_loop().call_later(delay, self._retry_now, key)
        self._again.discard(key)  # the changes wait for the retry, which covers them
        self._release(key)

    def put_back(self, key: Key) -> None:
        """Record that a key was interrupted, and queue it again without a backoff."""
        self._again.add(key)
        self._release(key)

    async def run_due(self) -> None:
        """Requeue keys when they are due, until cancelled."""
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

    def _waited(self, since: float) -> float:
        return self._clock.uptime() - max(since, self._taken_from)

    def _come_back(self, due: _Due) -> None:
        del self._due[due.key]
        self.add([due.key])

    def _forget_superseded(self) -> None:
        """Remove superseded entries from the head of both heaps."""
        while self._by_clock and not self._stands(self._by_clock[0]):
            heapq.heappop(self._by_clock)
        while self._by_uptime and not self._stands(self._by_uptime[0][1]):
            heapq.heappop(self._by_uptime)

    def _forget_most(self) -> None:
        """Remove all superseded entries once they are the greater part.

        An entry that is due in a year would otherwise stay for a year after each change of it.
        """
        if len(self._by_clock) > 2 * len(self._due) + MANY:
            self._by_clock = sorted(self._due.values())
        if len(self._by_uptime) > 2 * len(self._due) + MANY:
            self._by_uptime = sorted((due.uptime, due) for due in self._due.values())

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
            self._forget_most()
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
