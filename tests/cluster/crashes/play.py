"""A play in acts: each act may crash the operator, and has an outcome to compare."""

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
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
    retired_in,
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
"""Seconds without a request after which the operator counts as idle.

Later requests are awaited if the act's end is known, and count in the next act.
"""
SURELY_CALM = 1.0
NO_CRASH = CrashPoint()
MOST = 60
"""How often operators may crash in an act, which needs about half as many writes."""


@dataclass(frozen=True)
class Outcome:
    """The outcome of an act."""

    writes: list[str]
    """Writes, in the order in which the API server carried them out."""
    crashes: int
    """How often the operator crashed."""
    normal: NormalForm
    certificates: dict[str, int]
    """How many certificates, or signing keys, each Secret held during the act."""
    faults: list[str]
    """Undeclared edges that were open at any moment."""

    def differences(self, other: "Outcome") -> Iterator[str]:
        """Yield the differences from another outcome."""
        yield from differences(self.normal, other.normal)
        yield from differences(self.certificates, other.certificates, "certificates")


@dataclass
class Play:
    """The stage, the operator, and the witnesses."""

    stage: Stage
    path: CrashingPath
    operator: Operator
    witnesses: list[Witness]
    ground: Openings
    forgives: Callable[[str], bool] = lambda _difference: False
    """Whether a difference from the expected end does not count."""
    pace: timedelta = timedelta(0)
    """Time that passes for the operator while the end of an act is awaited."""
    _heard: Counter[Witness] = field(default_factory=Counter)
    _held: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """Certificates by their fingerprints, and the keys that each Secret holds."""

    async def act(
        self, act: "Act", point: CrashPoint = NO_CRASH, *, like: Outcome | None = None
    ) -> Outcome:
        """Play an act until it ends, like another outcome if it can."""
        past = retired_in(await self.objects())
        self.path.set_crash_point(point)
        await act(self)
        deadline = time.monotonic() + PATIENCE
        while True:
            await self.calm(CALM if like else SURELY_CALM)
            normal = normalised(await self.objects(), past)
            alike = like is None or not any(self.differences(like, normal))
            if alike or time.monotonic() > deadline:
                break
            if self.pace:
                await self.operator.live(self.pace)
        writes = list(map(describe_call, self.path.written))
        certificates, faults = await self._judged()
        return Outcome(writes, self.path.crashes, normal, certificates, faults)

    def differences(self, end: Outcome, normal: NormalForm) -> Iterator[str]:
        """Yield the differences from an expected end that count."""
        for each in differences(end.normal, normal):
            if not self.forgives(each):
                yield each

    async def calm(self, seconds: float = CALM) -> None:
        """Wait until the operator is idle; start another one after each kill."""
        began = time.monotonic()
        while time.monotonic() < max(self.path.quiet_since, began) + seconds:
            if self.path.over.is_set():
                assert self.path.crashes < MOST, f"no end of {describe_call(self.path.written[-1])}"
                await self.operator.end()
                self.path.revive()
                await self.operator.begin()
                began = time.monotonic()
            self.operator.check()
            await asyncio.sleep(0.02)

    async def objects(self) -> list[Manifest]:
        """Return the objects that Troth wrote, and the resources for which it wrote them."""
        return [
            {**each, "kind": kind}
            for kind in (*WRITTEN, *DECLARED)
            for each in await self.stage.person.all(kind)
            if self._is_here(each)
            and (kind in DECLARED or each["metadata"].get("labels", {}).get(MANAGED_BY) == "troth")
        ]

    def _is_here(self, manifest: Manifest) -> bool:
        """Return whether an object belongs to this stage; another test's may be deleted late."""
        here = {*self.stage.namespaces, self.stage.own}
        return manifest["metadata"].get("namespace", self.stage.own) in here

    async def _judged(self) -> tuple[dict[str, int], list[str]]:
        """Judge every state that any object had since the last act."""
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
        """Return what a witness has seen since the last call."""
        seen = await witness.everything()
        new = seen[self._heard[witness] :]
        self._heard[witness] = len(seen)
        return [sight for sight in new if self._is_here(sight.manifest)]

    def _hold(self, sight: Sight, course: dict[str, set[str]]) -> None:
        name, gone = name_of(sight.manifest), sight.type == "DELETED"
        self._held[name] = set() if gone else set(_certificates(sight.manifest))
        course.setdefault(name, set()).update(self._held[name])


Act = Callable[[Play], Awaitable[Any]]


def describe_call(call: Call) -> str:
    """Return the description of a write."""
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
