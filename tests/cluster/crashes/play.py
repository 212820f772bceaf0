"""A play in acts: in each the operator may meet its effect, and each has an outcome to compare."""

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from sandbox.faults import Call
from tests.cluster.crashes.comparison import (
    NormalForm,
    certificates_in,
    data_of,
    differences,
    fingerprint,
    name_of,
    normalised,
    token_key,
)
from tests.cluster.crashes.crash_points import CrashingPath, CrashPoint
from tests.cluster.crashes.openings import Openings
from tests.cluster.crashes.operators import Operator
from tests.cluster.person import Manifest
from tests.cluster.stage import Stage
from tests.cluster.witness import Sight, Witness
from tests.patience import PATIENCE
from troth.world.facts.objects import MANAGED_BY
from troth.world.observation.webhook_secrets import is_generated

WRITTEN = ("Secret", "ConfigMap", "NetworkPolicy")
DECLARED = ("TrustDomain", "ServiceIdentity", "WebhookEndpoint", "CredentialRotation")
CALM = 0.3
"""Seconds without a request after which nothing seems to be left to do. What comes later all the
same is waited for, where it is known how the act ends, and counted in the next one.
"""
SURELY_CALM = 1.0
NO_CRASH = CrashPoint()
MOST = 60
"""How often operators may die in an act, which needs about half as many writes."""


@dataclass(frozen=True)
class Outcome:
    """What became of an act."""

    writes: list[str]
    """What was carried out, in that order."""
    crashes: int
    """How often the operator crashed."""
    normal: NormalForm
    certificates: dict[str, int]
    """How many certificates, or keys that sign, each Secret held in the course of it."""
    faults: list[str]
    """What was open, at some moment, that was not declared."""

    def differences(self, other: "Outcome") -> Iterator[str]:
        """Yield what became otherwise in another outcome."""
        yield from differences(self.normal, other.normal)
        yield from differences(self.certificates, other.certificates, "certificates")


@dataclass
class Play:
    """The stage, the operator, and those who look on."""

    stage: Stage
    path: CrashingPath
    operator: Operator
    witnesses: list[Witness]
    ground: Openings
    _heard: Counter[Witness] = field(default_factory=Counter)
    _held: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """The certificates, by their fingerprints, and the keys that each Secret holds."""

    async def act(
        self, act: "Act", point: CrashPoint = NO_CRASH, *, like: Outcome | None = None
    ) -> Outcome:
        """Play an act to its end, and have it end like another if it can."""
        self.path.set_crash_point(point)
        await act(self)
        deadline = time.monotonic() + PATIENCE
        while True:
            await self.calm(CALM if like else SURELY_CALM)
            normal = normalised(await self.objects())
            alike = like is None or not any(differences(like.normal, normal))
            if alike or time.monotonic() > deadline:
                break
        writes = list(map(told, self.path.written))
        certificates, faults = await self._judged()
        return Outcome(writes, self.path.crashes, normal, certificates, faults)

    async def calm(self, seconds: float = CALM) -> None:
        """Wait until nothing is left to do; an operator that was killed is followed by another."""
        began = time.monotonic()
        while time.monotonic() < max(self.path.quiet_since, began) + seconds:
            if self.path.over.is_set():
                assert self.path.crashes < MOST, f"no end of {told(self.path.written[-1])}"
                await self.operator.end()
                self.path.revive()
                await self.operator.begin()
                began = time.monotonic()
            self.operator.check()
            await asyncio.sleep(0.02)

    async def objects(self) -> list[Manifest]:
        """Return what Troth wrote, and what it was written for."""
        return [
            {**each, "kind": kind}
            for kind in (*WRITTEN, *DECLARED)
            for each in await self.stage.person.all(kind)
            if self._is_here(each)
            and (kind in DECLARED or each["metadata"].get("labels", {}).get(MANAGED_BY) == "troth")
        ]

    def _is_here(self, manifest: Manifest) -> bool:
        """Whether it is of this stage; others may have left something that goes only now."""
        here = {*self.stage.namespaces, self.stage.own}
        return manifest["metadata"].get("namespace", self.stage.own) in here

    async def _judged(self) -> tuple[dict[str, int], list[str]]:
        """Look at every state that anything was in since the last act."""
        new = [sight for each in self.witnesses for sight in await self._news(each)]
        new.sort(key=lambda sight: sight.version)
        faults = [fault for sight in new for fault in self.ground.see(sight)]
        course = {name: set(held) for name, held in self._held.items()}
        for sight in new:
            if sight.manifest["kind"] == "Secret":
                self._hold(sight, course)
        certificates = {name: len(held) for name, held in course.items() if held}
        return certificates, [*faults, *self.ground.left_open()]

    async def _news(self, witness: Witness) -> list[Sight]:
        """Return what a witness has seen since it was last asked."""
        seen = await witness.everything()
        new = seen[self._heard[witness] :]
        self._heard[witness] = len(seen)
        return [sight for sight in new if self._is_here(sight.manifest)]

    def _hold(self, sight: Sight, course: dict[str, set[str]]) -> None:
        name, gone = name_of(sight.manifest), sight.type == "DELETED"
        self._held[name] = set() if gone else set(_certificates(sight.manifest))
        course.setdefault(name, set()).update(self._held[name])


Act = Callable[[Play], Awaitable[Any]]


def told(call: Call) -> str:
    """Say what was written."""
    return f"{call.verb} {call.path}"


def _certificates(secret: Manifest) -> Iterator[str]:
    data = data_of(secret)
    for key, pem in data.items():
        if key.endswith(".crt") and not key.endswith("ca.crt"):
            yield from map(fingerprint, certificates_in(pem))
    jwk = token_key(data)
    if jwk is not None:
        yield jwk["kid"]
    if is_generated(secret):
        yield from (text.decode() for text in data.values())
