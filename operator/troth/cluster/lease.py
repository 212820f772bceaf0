"""Leader election by a Lease: one copy writes, the others watch and stay warm.

The times that decide are this process's monotonic clock: a holder stops writing `margin` before
its lease could have run out for others, counted from before it sent the last renewal, however the
wall clock jumps. A candidate takes over only after it has itself seen the record unchanged for the
whole duration, so it need not trust the holder's clock either; and it is there at that moment.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from troth.cluster.api import ApiServer
from troth.cluster.errors import ApiError
from troth.resources.references import Ref
from troth.world.facts import Manifest

CONFLICT, NOT_FOUND = 409, 404


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
        """Acquire and renew until cancelled; then give the lease up."""
        try:
            while True:
                await self._attempt()
                await asyncio.sleep(self._pause())
        finally:
            if self.acting:
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
        self, write: Callable[[Manifest], Awaitable[Manifest]], lease: Manifest, at: float
    ) -> None:
        try:
            self._mine = await write(lease)
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
        self._held_until = float("-inf")
        if self._mine is None:
            return
        spec = {**self._mine["spec"], "holderIdentity": ""}
        try:
            await self._server.replace({**self._mine, "spec": spec})
        except ApiError:
            return  # it runs out by itself
