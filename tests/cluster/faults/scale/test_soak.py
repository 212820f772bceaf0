"""Long runs: what the operator holds does not grow with the number of events.

`make test` churns in memory, with virtual time, and compares the operator's objects. `make
campaign` also churns on a real API server for `TROTH_SOAK` seconds, and compares the memory of
`troth run`.
"""

import asyncio
import os
import time
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

import pytest

from sandbox.processes import Tether
from tests import builders, messaging, virtual_time
from tests.builders import OWN, stamp
from tests.cluster.brokers.market import POLICY, Market
from tests.cluster.crashes.test_crash_points import THOROUGH
from tests.cluster.faults.scale.churn import declared, rotations, unusual
from tests.cluster.faults.upgrades.holdings import holdings
from tests.cluster.person import LONG
from tests.cluster.process import Process
from tests.cluster.stage import DOMAIN, IDENTITY
from tests.reconcile.brokers.at_work import Working, working
from tests.reconcile.memory_brokers import in_memory
from tests.reconcile.serving import Server
from troth.resources.references import Ref
from troth.world.observation.retired import MOST_KEYS

WARM = 2
ROUNDS = 200 if THOROUGH else 3
LENGTH = float(os.environ.get("TROTH_SOAK", "3600"))
"""Seconds of the soak on a real API server."""
SAMPLES, TEAMS = 120, 3
GROWTH = 1.1
"""By how much the resident memory may grow from the second quarter to the last."""
OWNER = "messaging"
STANDING = (
    builders.namespace("shop", domain="production"),
    builders.namespace(OWNER, domain="production"),
    builders.domain(tokens={}, bundle={"propagation": "1m"}),
    builders.identity("payments", ports=["https"], accepts=[builders.accept("web")]),
    builders.identity("web", calls=[builders.call("payments")]),
    messaging.broker(),
    builders.secret("kafka-admin", OWNER, username=b"troth", password=b"admin"),
    builders.secret("kafka-ca", OWNER),
)
"""Declarations that stay."""


class Soak:
    """An engine in memory, and the rounds of its users."""

    def __init__(self, work: Working) -> None:
        self.work = work
        self.rounds = 0

    async def live(self, length: timedelta, steps: int = 8) -> None:
        it = self.work.running
        for _ in range(steps):
            await it.clock.move_to(it.clock.now() + length / steps)
            await asyncio.sleep(70)  # virtual time, in which every retry is made
            await self.work.settle()

    async def round(self) -> None:
        """Declare, change, rotate and delete everything under new names."""
        self.rounds += 1
        space, work = f"round-{self.rounds}", self.work
        clock = work.running.clock
        await work.put(builders.namespace(space, domain="production"))
        rest = [*unusual(space, "production")]
        before = [*rest, *declared(space, OWNER, "production", "elsewhere")]
        after = [*declared(space, OWNER, "production", "elsewhere", changed=True)]
        for each in (*before, *after, *before, *rotations(space, clock.now())):
            await work.put(each)
        moment = stamp(clock.now() + timedelta(seconds=1))
        root = builders.rotation("TrustDomain", "production", OWN, requestedAt=moment)
        await work.put(root)
        await self.live(timedelta(minutes=40))
        for each in (root, *rotations(space, clock.now()), *reversed(before)):
            await work.delete(each["kind"], Ref.of(each), clock.now())
        await self.live(timedelta(minutes=20))
        own = Ref(OWN, f"{space}-authority")  # outlives its trust domain
        left = [
            place for place in work.server.objects if place[1].namespace == space or place[1] == own
        ]
        for kind, ref in left:
            await work.running.drop(kind, ref)
        await work.running.drop("Namespace", Ref("", space))
        await self.live(timedelta(hours=25))
        work.server.log.clear()
        work.server.events.clear()

    def held(self) -> Counter[str]:
        """Return the sizes of everything that the engine holds, by path."""
        return holdings(self.work.running.engine, "engine")


@pytest.mark.long
def test_memory_does_not_grow_with_the_number_of_events() -> None:
    async def story() -> None:
        with in_memory():
            async with working(Server(STANDING)) as work:
                soak = Soak(work)
                for _ in range(WARM):
                    await soak.round()
                before = soak.held()
                for _ in range(ROUNDS):
                    await soak.round()
                grown = soak.held() - before
                retired = {path: grown.pop(path) for path in list(grown) if "retired" in path}
                assert grown == Counter(), f"in {ROUNDS} rounds after {WARM}"
                # a record of each rotation stays for the longest age of an event
                assert all(number <= min(ROUNDS, MOST_KEYS) for number in retired.values())

    with virtual_time.runner() as runner:
        runner.run(story())


# On a real API server


@dataclass
class Users:
    """A market on a real API server, and teams that come and go there."""

    market: Market
    until: float
    """End of the last round, on the monotonic clock."""
    rounds: int = 0

    async def team(self, number: int) -> None:
        """Run rounds until the end; each ends when nothing is left of it."""
        while time.monotonic() < self.until:
            await self._round(f"{self.market.stage.name}-r{number}-{self.rounds}")
            self.rounds += 1

    async def _round(self, space: str) -> None:
        stage = self.market.stage
        person, domain = stage.person, stage.name
        await person.put(builders.namespace(space, domain=domain))
        before = [*declared(space, self.market.space, domain)]
        changed = [*declared(space, self.market.space, domain, changed=True)]
        now = datetime.now(UTC)
        await person.put(*before)
        for name in ("web", "payments", "ledger", "checkout", "fulfilment"):
            await person.ready(IDENTITY, Ref(space, name))
        await person.put(*changed, *before, *rotations(space, now))
        moment = stamp(now + timedelta(seconds=1))
        await person.put(builders.rotation(DOMAIN, domain, stage.own, requestedAt=moment))
        for name in ("web", "payments", "ledger", "checkout", "fulfilment"):
            await person.ready(IDENTITY, Ref(space, name))
        for each in reversed(before):
            await person.delete(each["kind"], Ref.of(each))
        await person.misses(POLICY, Ref(space, "sales"), LONG)
        await person.delete("Namespace", Ref("", space))
        await person.misses("Namespace", Ref("", space), LONG)


@pytest.mark.skipif(not THOROUGH, reason="takes an hour; make campaign runs it")
@pytest.mark.timeout(0)
async def test_resident_memory_returns_to_its_bound(market: Market, tmp_path: Path) -> None:
    """The curve is in `memory.tsv`: seconds, rounds, MB."""
    stage, began = market.stage, time.monotonic()
    await stage.domain(tokens={}, bundle={"propagation": "1s"})
    await stage.person.put(market.broker())
    with Tether(tmp_path / "processes") as tether:
        tether.directory.mkdir()
        process = Process(tether, "operator", stage.kubeconfig, stage.own)
        await process.leads()
        users, curve = Users(market, began + LENGTH), list[float]()

        async def watch() -> None:
            with (tmp_path / "memory.tsv").open("w") as table:
                while True:
                    curve.append(process.resident)
                    at = round(time.monotonic() - began)
                    table.write(f"{at}\t{users.rounds}\t{curve[-1]:.1f}\n")
                    table.flush()
                    await asyncio.sleep(LENGTH / SAMPLES)

        watching = asyncio.create_task(watch())
        async with asyncio.TaskGroup() as tasks:
            for number in range(TEAMS):
                tasks.create_task(users.team(number))
        watching.cancel()
        await asyncio.wait({watching})
        assert "Traceback" not in process.output
        quarter = len(curve) // 4
        early, late = median(curve[quarter : 2 * quarter]), median(curve[-quarter:])
        assert late < GROWTH * early, f"after {users.rounds} rounds: {curve}"
