"""Leader election with a Lease: one replica writes, the others watch and keep their caches warm.

Only this process's monotonic clock matters for the lease. A holder stops writing `margin` before
its lease can expire for others, counted from before it sent the last renewal, whatever the wall
clock does. A candidate takes over only after it has seen the record unchanged for the whole
duration, so it does not rely on the holder's clock. It makes its attempt exactly at that time.

A replica whose wall clock differs too much from the API server's does not lead: it would issue
certificates that are not valid yet. It only reads the lease, and a holder lets it expire.

Every replica reads or writes the lease every few seconds, so the lease also shows within seconds
that the API server's store was restored from a snapshot: its resource version is lower than before.
A lease that is gone counts as that, too. Nobody deletes it in passing, and if the snapshot is older
than the lease, no version tells.
"""

import asyncio
import random
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NoReturn

import structlog

from troth.cluster.api import ApiServer
from troth.cluster.denials import logged
from troth.cluster.errors import ApiError, StoreRestored
from troth.resources.references import Ref
from troth.world.facts.objects import Manifest

CONFLICT, NOT_FOUND = 409, 404
RELEASE_ATTEMPTS = 3
"""The first write can lose to a renewal in flight, and the answer to the second can be lost."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Timing:
    """Times in seconds: duration of a lease, interval of renewals, and margin before its end."""

    duration: float = 10.0
    renew_every: float = 2.0
    margin: float = 3.0

    @property
    def patience(self) -> float:
        """Timeout of one request for the lease.

        It is half of the time in which a holder must renew, so that one request that hangs does not
        cost the lease; Kubernetes' own components do the same with their renew deadline.
        """
        return (self.duration - self.margin) / 2


class Leadership:
    """Leadership of this process. `acting` is True only while it certainly has the lease."""

    def __init__(
        self,
        server: ApiServer,
        ref: Ref,
        identity: str,
        timing: Timing = Timing(),
        monotonic: Callable[[], float] = time.monotonic,
        *,
        may_lead: Callable[[], bool] = lambda: True,
    ) -> None:
        """`may_lead` returns whether this process may acquire and hold the lease at all.

        It may not with a wrong wall clock, nor beside an operator of another installation.
        """
        self._server = server
        self._ref = ref
        self._identity = identity
        self._timing = timing
        self._monotonic = monotonic
        self._may_lead = may_lead
        self._held_until = float("-inf")
        self._seen: tuple[str, float] = ("", 0.0)
        self._runs_out = float("-inf")
        self._mine: Manifest | None = None
        self._writing: asyncio.Task[Manifest] | None = None
        self._claimed_until = float("-inf")
        self._newest = 0
        """Newest version of the lease that was answered."""
        self._logged_cause: tuple[int, str] | None = None
        """Status and reason why the lease cannot be acquired, as last logged."""
        self._gained = asyncio.Event()
        self._holder = ""
        """Who leads, as last logged."""

    @property
    def acting(self) -> bool:
        """Whether writes are allowed now."""
        return self.remaining > 0

    @property
    def remaining(self) -> float:
        """Time in seconds for which writes are certainly allowed."""
        if not self._may_lead():
            return 0.0
        return self._held_until - self._monotonic()

    def join(self) -> None:
        """Do nothing: a single leader does not wait until its caches are in sync."""

    async def gained(self) -> None:
        """Wait until writes are allowed."""
        while not self.acting:
            self._gained.clear()
            await self._gained.wait()

    async def run(self) -> None:
        """Acquire and renew until cancelled; then release the lease.

        Raises `StoreRestored` if the lease went back in time, or is gone. It is then no longer
        acting, and releases nothing: the lease is what it was at the time of the snapshot.
        """
        try:
            while True:
                answered = await self._attempt()
                if self._holder == self._identity and not self.acting:
                    self._note_holder("")
                if answered:
                    await asyncio.sleep(self._pause())
        finally:
            await asyncio.shield(self._release())

    def _pause(self) -> float:
        """Return the seconds until the next attempt: at most until the holder's lease expires."""
        usual = self._timing.renew_every * random.uniform(0.9, 1.1)  # noqa: S311 - no secret
        left = self._runs_out - self._monotonic()
        return left if 0 < left < usual else usual

    async def _attempt(self) -> bool:
        """Acquire or renew the lease if possible; return whether the API server answered in time.

        Without an answer, the next attempt follows at once.
        """
        asked_at = self._monotonic()
        if not self._may_lead():
            self._held_until, self._mine = float("-inf"), None
        if self._mine is not None:  # if another process wrote it, the API server rejects this
            answered = await self._renew(self._mine, asked_at)
            # After a rejection, read the lease at once: the store may have been restored.
            return answered and self._mine is not None
        try:
            async with asyncio.timeout(self._timing.patience):
                lease = await self._server.get("Lease", self._ref)
        except TimeoutError:
            return False
        except ApiError as error:
            if error.status == NOT_FOUND:
                if self._newest:
                    self._end()
                made = self._record(None)
                return not self._may_lead() or await self._write(
                    self._server.create, made, asked_at
                )
            self._warn(error)
            return True
        self._check(lease)
        spec = lease.get("spec") or {}
        holder = spec.get("holderIdentity") or ""
        record = lease["metadata"]["resourceVersion"]
        if record != self._seen[0]:  # it may have been written long after the request
            self._seen = (record, self._monotonic())
        lasts = float(spec.get("leaseDurationSeconds") or self._timing.duration)
        self._runs_out = self._seen[1] + lasts
        others = holder not in ("", self._identity)
        if self._may_lead() and not (others and asked_at < self._runs_out):
            return await self._acquire(lease, asked_at)
        self._logged_cause = None
        if others:
            self._note_holder(holder)
        return True

    async def _renew(self, mine: Manifest, at: float) -> bool:
        """Renew the lease as last written; return whether the API server answered in time."""
        return await self._write(self._server.replace, self._record(mine), at)

    async def _acquire(self, lease: Manifest, at: float) -> bool:
        """Acquire the lease as read; return whether the API server answered in time."""
        return await self._write(self._server.replace, self._record(lease), at)

    def _note_holder(self, holder: str) -> None:
        """Log who leads, if that has changed; an empty `holder` means that nobody does."""
        if holder == self._holder:
            return
        if holder == self._identity:
            log.info("leading", lease=str(self._ref), identity=self._identity)
        elif holder:
            log.info("standing by", lease=str(self._ref), leader=holder)
        else:
            log.warning("lease lost", lease=str(self._ref), identity=self._identity)
        self._holder = holder

    async def _write(
        self, write: Callable[[Manifest], Coroutine[Any, Any, Manifest]], lease: Manifest, at: float
    ) -> bool:
        """Write the lease; return whether the API server answered in time.

        A write that is given up may still arrive, unless another write of the lease arrives first.
        It only makes other candidates wait longer.
        """
        self._claimed_until = at + self._timing.duration
        self._writing = asyncio.create_task(write(lease))
        # Stopping does not abort the write: its answer has the version that the release needs.
        await asyncio.wait({self._writing}, timeout=self._timing.patience)
        if not self._writing.done():
            self._writing.cancel()
            self._writing = self._mine = None
            return False
        try:
            self._mine = self._writing.result()
        except ApiError as error:
            self._mine = None  # a conflict, or no answer; the next attempt reads it
            if error.status != CONFLICT:
                self._warn(error)
            return True
        self._logged_cause = None
        self._check(self._mine)
        self._take_answer(self._mine, at)
        return True

    def _take_answer(self, _: Manifest, at: float) -> None:
        """Hold the lease: the API server accepted a write of it that was sent at a time."""
        self._held_until = at + self._timing.duration - self._timing.margin
        self._gained.set()
        if self.acting:
            self._note_holder(self._identity)

    def _warn(self, error: ApiError) -> None:
        """Log why the lease cannot be acquired or renewed, once until it can or the cause changes.

        Without a lease nothing is written, so nothing else may say why.
        """
        cause = error.status, error.reason
        if cause != self._logged_cause:
            self._logged_cause = cause
            log.warning(
                "lease not acquired",
                lease=str(self._ref),
                message=error.line,
                **logged(error),
            )

    def _check(self, lease: Manifest) -> None:
        """Raise `StoreRestored` if the lease is older than one that was answered before.

        Requests for the lease follow each other, and the API server answers them from its store.
        """
        version = int(lease["metadata"]["resourceVersion"])
        if version < self._newest:
            self._end()
        self._newest = version

    def _end(self) -> NoReturn:
        """Stop acting, and raise `StoreRestored`."""
        self._held_until = self._claimed_until = float("-inf")
        raise StoreRestored

    def _record(self, previous: Manifest | None) -> Manifest:
        now = renew_time()
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
        """Release the lease if this process may hold it, and retry until it has expired."""
        self._held_until = float("-inf")
        left = self._claimed_until - self._monotonic()
        with suppress(TimeoutError):
            async with asyncio.timeout(max(left, 0.0)):
                lease = await self._last_written()
                for _ in range(RELEASE_ATTEMPTS if left > 0 else 0):
                    if await self._released(lease):
                        return
                    lease = None  # the answer was lost, or another write won: read it

    async def _last_written(self) -> Manifest | None:
        """Wait for the write in flight and return the lease as this process last wrote it."""
        if self._writing is None:
            return None
        try:
            return await self._writing
        except ApiError:
            return None

    async def _released(self, lease: Manifest | None) -> bool:
        """Release the lease, as given or as read, and return whether nothing is left to do.

        The resourceVersion prevents the release of a lease that another holder has acquired.
        """
        try:
            lease = lease or await self._server.get("Lease", self._ref)
            if (lease.get("spec") or {}).get("holderIdentity") != self._identity:
                return True
            await self._server.replace({**lease, "spec": {**lease["spec"], "holderIdentity": ""}})
        except ApiError as error:
            return error.status == NOT_FOUND
        return True


def renew_time(now: datetime | None = None) -> str:
    """Return a time as a Lease has it, the current one if none is given."""
    return (now or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
