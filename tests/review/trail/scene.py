"""A worker with an audit log: its identity, a ConfigMap in memory, and an output that is kept."""

import asyncio
import copy
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from tests.builders import Manifest
from tests.edge.events.trade import NOW, bundle_map, leaf
from tests.edge.mounts import SVID, Mounts, workload
from troth.cluster.errors import ApiError
from troth.edge.identity.files import Identity
from troth.pki.bundles.spiffe_bundle import SPIFFEBundle, parse_bundle_map
from troth.resources.references import Ref
from troth.resources.reviews.dead_letter_review import ReviewAction
from troth.resources.reviews.dead_letter_review_status import LetterOutcome
from troth.review.trail.decisions import (
    Approved,
    Decision,
    Ended,
    PayloadRead,
    Refused,
    Requested,
    Review,
    Settled,
    SettledLetter,
    Started,
    Withdrawn,
)
from troth.review.trail.entry import Entry
from troth.review.trail.head_store import HeadStore
from troth.review.trail.log import AuditLog
from troth.review.trail.metrics import AuditLogMetrics
from troth.review.trail.sinks import Sink, SinkError

WORKER = workload("reviewer")
HEAD = Ref("troth-system", "troth-review-audit-log")
POLICY = Ref("shop", "orders")
DIGEST = "A" * 43
REVIEW = Review(
    Ref("shop", "schema-fixed"),
    "6f3b3f6c-6a4e-4d1c-9d2f-0f3f5a1c2b3d",
    POLICY,
    ReviewAction.REDRIVE,
    "ali\u0107a",
    "bob",
)


def letters(number: int, outcome: LetterOutcome = LetterOutcome.REDRIVEN) -> Settled:
    found = tuple(SettledLetter(f"{each:043}", DIGEST, outcome) for each in range(number))
    return Settled(REVIEW, found)


SKIPPED = SettledLetter("skipped", DIGEST, LetterOutcome.SKIPPED, "ProducerNotGranted")
DECISIONS: tuple[Decision, ...] = (
    Requested(REVIEW, "the consumer \u201cfulfilment\u201d is fixed", 3, DIGEST),
    Approved(REVIEW, DIGEST),
    Started(REVIEW, 3, DIGEST),
    letters(2),
    Settled(REVIEW, (SKIPPED,)),
    Ended(REVIEW, {"redriven": 2, "skipped": 1}),
    Withdrawn(REVIEW, "bob", "the wrong letters"),
    Refused(REVIEW, "AdmissionPolicyMissing"),
    PayloadRead(POLICY, "letter", DIGEST, "carol"),
)
"""One decision of each kind."""


class Steps:
    """Counts the steps of a process, and freezes it for ever at one of them."""

    def __init__(self, freeze_at: int | None = None) -> None:
        self.number = 0
        self.frozen = asyncio.Event()
        self._freeze_at = freeze_at

    async def step(self) -> None:
        self.number += 1
        if self.number == self._freeze_at:
            self.frozen.set()
            await asyncio.Event().wait()


@dataclass
class ConfigMaps:
    """The API server, with one ConfigMap. `faults` are raised by the next requests, if not None.

    A fault whose status is 0 is raised after the request has been carried out.
    """

    stored: Manifest | None = None
    version: int = 0
    writes: int = 0
    faults: list[ApiError | None] = field(default_factory=list)

    async def get(self, kind: str, ref: Ref) -> Manifest:
        assert (kind, ref) == ("ConfigMap", HEAD)
        return await self._answer(self._get)

    async def create(self, manifest: Manifest) -> Manifest:
        return await self._answer(lambda: self._create(manifest))

    async def replace(self, manifest: Manifest) -> Manifest:
        return await self._answer(lambda: self._replace(manifest))

    def edit(self, **data: str) -> None:
        """Change the data as somebody else."""
        assert self.stored is not None
        self._store({**self.stored, "data": {**self.stored["data"], **data}})

    def restore(self, data: Manifest) -> None:
        """Set the data back to what they were."""
        assert self.stored is not None
        self._store({**self.stored, "data": data})

    async def _answer(self, act: Callable[[], Manifest]) -> Manifest:
        await asyncio.sleep(0)
        fault = self.faults.pop(0) if self.faults else None
        if fault is not None and fault.status:
            raise fault
        answer = act()
        await asyncio.sleep(0)
        if fault is not None:
            raise fault
        return answer

    def _get(self) -> Manifest:
        if self.stored is None:
            raise ApiError(404, "NotFound", "")
        return copy.deepcopy(self.stored)

    def _create(self, manifest: Manifest) -> Manifest:
        if self.stored is not None:
            raise ApiError(409, "AlreadyExists", "")
        return self._store(manifest)

    def _replace(self, manifest: Manifest) -> Manifest:
        if self.stored is None:
            raise ApiError(404, "NotFound", "")
        if manifest["metadata"]["resourceVersion"] != str(self.version):
            raise ApiError(409, "Conflict", "")
        self.writes += 1
        return self._store(manifest)

    def _store(self, manifest: Manifest) -> Manifest:
        self.version += 1
        self.stored = copy.deepcopy(manifest)
        self.stored["metadata"]["resourceVersion"] = str(self.version)
        return copy.deepcopy(self.stored)


class Stepping:
    """The API server of a process that may freeze before and after each request."""

    def __init__(self, server: ConfigMaps, steps: Steps) -> None:
        self._server = server
        self._steps = steps

    async def get(self, kind: str, ref: Ref) -> Manifest:
        return await self._between(lambda: self._server.get(kind, ref))

    async def create(self, manifest: Manifest) -> Manifest:
        return await self._between(lambda: self._server.create(manifest))

    async def replace(self, manifest: Manifest) -> Manifest:
        return await self._between(lambda: self._server.replace(manifest))

    async def _between(self, request: Callable[[], Awaitable[Manifest]]) -> Manifest:
        await self._steps.step()
        answer = await request()
        await self._steps.step()
        return answer


@dataclass
class Output:
    """Standard output, which outlives processes. A process may freeze in the middle of a line."""

    text: str = ""
    steps: Steps = field(default_factory=Steps)
    name: str = "stdout"
    required: bool = True
    faults: int = 0
    """Number of writes that fail."""

    async def write(self, entries: Sequence[Entry]) -> None:
        await self.steps.step()
        if self.faults:
            self.faults -= 1
            raise SinkError("the disk is full")
        for each in entries:
            half = len(each.line) // 2
            self.text += each.line[:half]
            await self.steps.step()
            self.text += each.line[half:] + "\n"
            await self.steps.step()

    @property
    def lines(self) -> list[str]:
        return self.text.splitlines()


class Worker:
    """A worker's files, and its log."""

    def __init__(self, path: Path) -> None:
        self.now = NOW
        self.files = Mounts(path / "reviewer")
        self.issue()

    def issue(
        self, own: SVID | None = None, *, spiffe_id: str = WORKER, messages: Sequence[Any] = ()
    ) -> None:
        """Write the files with another certificate; `messages` are the rights at brokers."""
        self.files.write(
            own or leaf(spiffe_id, at=self.now - 60),
            bundles=bundle_map(),
            spiffeID=spiffe_id,
            accepts=[],
            messages=list(messages),
        )

    def identity(self) -> Identity:
        return Identity(self.files.identity.path, self.files.bundle.path, clock=self._tick)

    def log(
        self,
        server: Any,
        *sinks: Sink,
        registry: CollectorRegistry | None = None,
    ) -> AuditLog:
        metrics = AuditLogMetrics(registry or CollectorRegistry())
        store = HeadStore(server, HEAD)
        return AuditLog(store, self.identity(), sinks, metrics, clock=lambda: self.now)

    _looks = 0.0

    def _tick(self) -> float:
        self._looks += 10.0
        return self._looks


def bundles() -> dict[str, SPIFFEBundle]:
    """Return the bundles that verify a worker."""
    return parse_bundle_map(json.dumps(bundle_map()))


async def appended(log: AuditLog, *decisions: Decision) -> list[int]:
    """Return the numbers of the entries of decisions, appended one after the other."""
    async with running(log):
        return [await log.append(each) for each in decisions]


class running:  # noqa: N801 - it reads as a function
    """Runs a log in the background."""

    def __init__(self, log: AuditLog) -> None:
        self._log = log

    async def __aenter__(self) -> "asyncio.Task[None]":
        self._task = asyncio.create_task(self._log.run())
        return self._task

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.wait({self._task})
