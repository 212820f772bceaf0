"""A shop whose root, token key and broker credentials rotate while its operators change.

web -> payments    payments requires tokens ledger -> payments    refused: ledger does not call
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sandbox.processes import Tether
from tests import builders
from tests.builders import accept, call, stamp
from tests.cluster.faults.upgrades.continuity import Continuity
from tests.cluster.faults.upgrades.releases import Release
from tests.cluster.person import LONG, Manifest, until
from tests.cluster.process import Process
from tests.cluster.stage import DOMAIN, IDENTITY, Stage
from tests.cluster.witness import Sight, Witness
from troth.resources.references import Ref

PROPAGATION = 1
"""Propagation delay in seconds."""
HASTY = "tests.cluster.tokens.hasty"
"""`troth` with token lifetimes of seconds, which every version has."""
WATCHED = ("Secret", "ConfigMap", "NetworkPolicy")


@dataclass
class Shop:
    """The declarations, the operators, and the witnesses of every state."""

    stage: Stage
    tether: Tether
    judge: Continuity
    witnesses: list[Witness] = field(default_factory=list)
    operators: list[Process] = field(default_factory=list)

    @property
    def domain(self) -> Ref:
        return Ref("", self.stage.name)

    @property
    def identities(self) -> list[Ref]:
        return [Ref(self.stage.shop, name) for name in ("web", "payments", "ledger")]

    # Operators

    def start(self, release: Release, kubeconfig: Path | None = None) -> Process:
        """Start a replica of a version."""
        started = Process(
            self.tether,
            f"operator-{len(self.operators)}",
            kubeconfig or self.stage.kubeconfig,
            self.stage.own,
            module=HASTY,
            checkout=release.checkout,
        )
        self.operators.append(started)
        return started

    async def kill(self, operator: Process) -> None:
        """Send SIGKILL; the test does not wait until the lease expires."""
        await asyncio.to_thread(operator.kill)
        await self.stage.person.delete("Lease", Ref(self.stage.own, "troth-operator"))

    def no_tracebacks(self) -> None:
        for each in self.operators:
            assert "Traceback" not in each.output, each.output

    # Declarations

    async def declare(self) -> None:
        """Declare the shop, and wait until it is ready."""
        person, stage = self.stage.person, self.stage
        domain = builders.domain(stage.name, bundle={"propagation": f"{PROPAGATION}s"}, tokens={})
        del domain["spec"]["isolation"]  # the earlier version does not know it
        stage.domains.append(stage.name)
        await person.put(
            domain,
            builders.identity("web", stage.shop, calls=[call("payments", scopes=["charge"])]),
            builders.identity(
                "payments",
                stage.shop,
                ports=["https"],
                accepts=[accept("web", scopes=["charge"]), accept("ledger")],
                authentication={"token": {}},
            ),
            builders.identity("ledger", stage.shop),
        )
        await self.ready()
        self.judge.begin(await self._states())

    async def ready(self) -> None:
        await self.stage.person.ready(DOMAIN, self.domain)
        for each in self.identities:
            await self.stage.person.ready(IDENTITY, each)

    async def rotate(self) -> None:
        """Request a new root and, with it, a new token key."""
        moment = stamp(datetime.now(UTC) + timedelta(seconds=1))
        await self.stage.person.put(
            builders.rotation(DOMAIN, self.stage.name, self.stage.own, requestedAt=moment)
        )

    # Observations

    async def status(self) -> Manifest:
        found: Manifest = (await self.stage.person.the(DOMAIN, self.domain))["status"]
        return found

    async def reaches(self, point: "Point") -> None:
        """Wait until a rotation is in a phase."""

        async def phase() -> str:
            told = (await self.status()).get(point[0]) or {}
            return str(told.get("phase"))

        await until(phase, lambda seen: seen == point[1], LONG)

    async def ends(self, before: "Credentials") -> None:
        """Wait until the root and the token key are replaced."""

        async def replaced() -> bool:
            now = await self.credentials()
            return all(len(new) == 1 and new != old for old, new in zip(before, now, strict=True))

        await until(replaced, bool, LONG)
        for name in ("rotation", "tokenRotation"):
            await self.reaches((name, "Idle"))

    async def credentials(self) -> "Credentials":
        """Return the fingerprints of the domain's roots, and of its token keys."""
        status = await self.status()
        roots, keys = (
            frozenset(each["fingerprint"] for each in status.get(name) or ())
            for name in ("authorities", "tokenKeys")
        )
        return roots, keys

    async def judged(self) -> None:
        """Assert that no state of any object broke a rule."""
        self.judge.judge(await self._states())

    async def _states(self) -> list[Sight]:
        seen = [sight for each in self.witnesses for sight in await each.everything()]
        here = {self.stage.own, *self.stage.namespaces}
        return [each for each in seen if each.manifest["metadata"]["namespace"] in here]


Point = tuple[str, str]
"""Status field of a rotation, and its phase."""
Credentials = tuple[frozenset[str], frozenset[str]]


@asynccontextmanager
async def opened(stage: Stage, directory: Path) -> AsyncIterator[Shop]:
    """Yield a shop without operators or declarations, whose objects witnesses watch."""
    directory.mkdir(exist_ok=True)  # noqa: ASYNC240 - at once
    with Tether(directory / "processes") as tether:
        tether.directory.mkdir()
        shop = Shop(stage, tether, Continuity(stage.name, stage.own))
        kubeconfig = stage.sandbox.kubeconfig
        one, two, three = (Witness(kubeconfig, kind, "") for kind in WATCHED)
        async with one, two, three:
            shop.witnesses += [one, two, three]
            yield shop
