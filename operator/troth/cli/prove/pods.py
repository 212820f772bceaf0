"""Runs the pods of a round, a few at a time and not too many in a minute."""

import asyncio
import contextlib
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from troth.audit.proving.job import job, job_name
from troth.audit.proving.probe import Caller
from troth.audit.proving.round import Pod
from troth.cli.inputs.access import refusal
from troth.cluster.errors import ApiError
from troth.documents.probes import LONGEST, Instructions, PodReport, read_report
from troth.resources.manifests import Manifest
from troth.resources.references import Ref

BUDGET = 600
"""Default number of seconds in which the pods of a batch may start."""
AT_ONCE = 4
"""Number of pods that run at the same time."""

_LOOK = 1.0
_GRACE = 60.0


class Server(Protocol):
    """The requests that a round makes. `PersonalServer` makes them."""

    async def create(self, manifest: Manifest) -> Manifest:
        """Create an object."""

    async def get(self, kind: str, ref: Ref) -> Manifest:
        """Return an object."""

    async def listed(
        self, kind: str, namespace: str = "", *, labels: str = "", fields: str = ""
    ) -> list[Manifest]:
        """Return the objects of a kind."""

    async def log(self, pod: Ref, *, most_bytes: int) -> bytes:
        """Return the log of a pod."""

    async def delete(self, kind: str, ref: Ref, uid: str) -> Manifest:
        """Delete an object."""

    async def apply_status(self, manifest: Manifest, manager: str) -> Manifest:
        """Apply fields of a status."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a pod reported. Without a report, `reason` says why, and `detail` for a person."""

    report: PodReport | None
    reason: str = ""
    detail: str = ""


@dataclass(slots=True)
class Runner:
    """Runs pods as Jobs, and deletes them."""

    server: Server
    callers: Mapping[Ref | None, Caller]
    image: str
    rate: int
    """Maximum number of pods in a minute."""
    budget: float = BUDGET
    """Seconds after the beginning of a batch until which its pods may start."""
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep
    clock: Callable[[], float] = time.monotonic
    run: str = field(default_factory=lambda: secrets.token_hex(4))
    """Name of the round, in the names of its Jobs."""
    _made: dict[Ref, str] = field(default_factory=dict)
    _number: int = 0
    _next: float = float("-inf")
    _until: float = float("inf")

    def begin(self) -> None:
        """Begin a batch: its budget starts now."""
        self._until = self.clock() + self.budget

    async def results(self, pods: Iterable[Pod]) -> list[tuple[Pod, Result]]:
        """Run pods; return what each reported."""
        slots = asyncio.Semaphore(AT_ONCE)

        async def one(pod: Pod) -> tuple[Pod, Result]:
            async with slots:
                return pod, await self._one(pod)

        return list(await asyncio.gather(*map(one, pods)))

    async def _one(self, pod: Pod) -> Result:
        if not await self._turn():
            return Result(None, "no time was left")
        self._number += 1
        caller = self.callers[pod.caller]
        asked = Instructions(secrets.token_hex(8), tuple(each.instruction for each in pod.tasks))
        name = job_name(pod, self.run, self._number)
        manifest = job(name, self.run, pod, caller, asked, self.image)
        ref = Ref(caller.namespace, name)
        try:
            created = await self.server.create(manifest)
            self._made[ref] = created["metadata"]["uid"]
            outcome = await self._ended(ref, manifest["spec"]["activeDeadlineSeconds"])
            result = await self._reported(ref, asked) if not outcome else Result(None, outcome)
        except ApiError as error:
            result = Result(None, "its Job was rejected or could not be read", refusal(error))
        await self._remove(ref)
        return result

    async def _turn(self) -> bool:
        """Wait until the next pod may start; return False if the budget does not allow it."""
        now = self.clock()
        start = max(now, self._next)
        if start >= self._until:
            return False
        self._next = start + 60 / self.rate
        if start > now:
            await self.pause(start - now)
        return True

    async def _ended(self, ref: Ref, seconds: float) -> str:
        """Wait until a Job has ended; return why there is no report, empty if it is complete."""
        until = self.clock() + seconds + _GRACE
        while self.clock() < until:
            found = await self.server.get("Job", ref)
            for each in (found.get("status") or {}).get("conditions") or []:
                if each.get("status") == "True" and each.get("type") == "Complete":
                    return ""
                if each.get("status") == "True" and each.get("type") == "Failed":
                    late = each.get("reason") == "DeadlineExceeded"
                    return "its pod did not end in time" if late else "its pod failed"
            await self.pause(_LOOK)
        return "its pod did not end in time"

    async def _reported(self, ref: Ref, asked: Instructions) -> Result:
        labels = f"batch.kubernetes.io/job-name={ref.name}"
        for pod in await self.server.listed("Pod", ref.namespace, labels=labels):
            if (pod.get("status") or {}).get("phase") == "Succeeded":
                log = await self.server.log(Ref.of(pod), most_bytes=LONGEST)
                report = read_report(log, asked)
                if report is not None:
                    return Result(report)
        return Result(None, "its pod gave no valid report")

    async def _remove(self, ref: Ref) -> None:
        """Delete a Job. If that fails, the cluster deletes it some minutes after its end."""
        uid = self._made.pop(ref, None)
        if uid is not None:
            with contextlib.suppress(ApiError):
                await self.server.delete("Job", ref, uid)

    async def close(self) -> None:
        """Delete the Jobs that remain."""
        for ref in list(self._made):
            await self._remove(ref)
