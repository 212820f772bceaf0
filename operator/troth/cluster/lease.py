"""Leader election by a Lease: one copy writes, the others watch and stay warm.

The times that decide are this process's monotonic clock: a holder stops writing `margin` before
its lease could have run out for others, counted from before it sent the last renewal, however the
wall clock jumps. A candidate takes over only after it has itself seen the record unchanged for the
whole duration, so it need not trust the holder's clock either; and it is there at that moment.
"""

import asyncio
import random
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from troth.cluster.api import ApiServer
from troth.cluster.errors import ApiError
from troth.resources.references import Ref
from troth.world.facts.objects import Manifest

NOT_FOUND = 404
RELEASE_ATTEMPTS = 3
"""The first write may lose to a renewal in flight, and the answer to the second may be lost."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds: how long a lease lasts, how often it is renewed, how early writing stops."""

    duration: float = 10.0
    renew_every: float = 2.0
    margin: float = 3.0


class Leadership:
    """Whether this process holds the lease. `acting` is true only while it surely does."""

    def __init__(
        self,
        server: ApiServer,
        ref: Ref,
        identity: str,
        timing: Timing = Timing(),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._server = server
        self._ref = ref
        self._identity = identity
        self._timing = timing
        self._monotonic = monotonic
        self._held_until = float("-inf")
        self._seen: tuple[str, float] = ("", 0.0)
        self._runs_out = float("-inf")
        self._mine: Manifest | None = None
        self._writing: asyncio.Task[Manifest] | None = None
        self._claimed_until = float("-inf")
        self._gained = asyncio.Event()

    @property
    def acting(self) -> bool:
        """Whether writes are allowed at this moment."""
        return self.remaining > 0

    @property
    def remaining(self) -> float:
        """For how many seconds writes are surely allowed."""
        return self._held_until - self._monotonic()

    async def gained(self) -> None:
        """Wait until writes are allowed."""
        while not self.acting:
            self._gained.clear()
            await self._gained.wait()

    async def run(self) -> None:
        """Acquire and renew until cancelled; then release the lease."""
        try:
            while True:
                await self._attempt()
                await asyncio.sleep(self._pause())
        finally:
            await asyncio.shield(self._release())

    def _pause(self) -> float:
        """Return seconds until the next attempt: no later than the holder's lease runs out."""
        usual = self._timing.renew_every * random.uniform(0.9, 1.1)  # noqa: S311 - no secret
        left = self._runs_out - self._monotonic()
        return left if 0 < left < usual else usual

    async def _attempt(self) -> None:
        asked_at = self._monotonic()
        if self._mine is not None:  # nobody else wrote it, or the replacement is refused
            await self._write(self._server.replace, self._record(self._mine), asked_at)
            return
        try:
            lease = await self._server.get("Lease", self._ref)
        except ApiError as error:
            if error.status == NOT_FOUND:
                await self._write(self._server.create, self._record(None), asked_at)
            return
        spec = lease.get("spec") or {}
        holder = spec.get("holderIdentity") or ""
        record = lease["metadata"]["resourceVersion"]
        if record != self._seen[0]:  # written before the answer, perhaps long after the question
            self._seen = (record, self._monotonic())
        lasts = float(spec.get("leaseDurationSeconds") or self._timing.duration)
        self._runs_out = self._seen[1] + lasts
        if holder in ("", self._identity) or asked_at >= self._runs_out:
            await self._write(self._server.replace, self._record(lease), asked_at)

    async def _write(
        self, write: Callable[[Manifest], Coroutine[Any, Any, Manifest]], lease: Manifest, at: float
    ) -> None:
        self._claimed_until = at + self._timing.duration
        self._writing = asyncio.create_task(write(lease))
        try:
            # A stop does not abort the write: its answer has the version that the release needs.
            self._mine = await asyncio.shield(self._writing)
        except ApiError:
            self._mine = None  # somebody was first, or nobody was reached; the next attempt tells
            return
        self._held_until = at + self._timing.duration - self._timing.margin
        self._gained.set()

    def _record(self, previous: Manifest | None) -> Manifest:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        before = (previous or {}).get("spec") or {}
        mine = before.get("holderIdentity") == self._identity
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": (previous or {}).get("metadata")
            or {"name": self._ref.name, "namespace": self._ref.namespace},
            "spec": {
                "holderIdentity": self._identity,
                "leaseDurationSeconds": round(self._timing.duration),
                "acquireTime": before.get("acquireTime") if mine else now,
                "renewTime": now,
                "leaseTransitions": int(before.get("leaseTransitions") or 0) + (not mine),
            },
        }

    async def _release(self) -> None:
        """Release the lease if this process may hold it, until it has run out by itself."""
        self._held_until = float("-inf")
        left = self._claimed_until - self._monotonic()
        with suppress(TimeoutError):
            async with asyncio.timeout(max(left, 0.0)):
                lease = await self._last_written()
                for _ in range(RELEASE_ATTEMPTS if left > 0 else 0):
                    if await self._released(lease):
                        return
                    lease = None  # the answer was lost, or another write was first: read it

    async def _last_written(self) -> Manifest | None:
        """Wait for the write in flight and return the lease as this process last wrote it."""
        if self._writing is None:
            return None
        try:
            return await self._writing
        except ApiError:
            return None

    async def _released(self, lease: Manifest | None) -> bool:
        """Release the lease, as given or as it is read, and return whether nothing is left to do.

        The resourceVersion guards against the release of a lease that another holder has taken.
        """
        try:
            lease = lease or await self._server.get("Lease", self._ref)
            if (lease.get("spec") or {}).get("holderIdentity") != self._identity:
                return True
            await self._server.replace({**lease, "spec": {**lease["spec"], "holderIdentity": ""}})
        except ApiError as error:
            return error.status == NOT_FOUND
        return True
