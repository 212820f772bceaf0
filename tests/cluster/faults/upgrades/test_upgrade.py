"""Another version of Troth takes over in the middle of a rotation.

`make test` continues from recorded objects of the earlier version, in memory. `make campaign` also
runs the earlier version itself, from the history of this repository.
"""

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sandbox import Sandbox
from sandbox.processes import Tether
from tests import builders
from tests.broker_builders import publisher, subscriber
from tests.brokers.nats.stage import Stage as Account
from tests.builders import stamp
from tests.cluster import conftest
from tests.cluster.brokers.market import Market
from tests.cluster.crashes.comparison import data_of
from tests.cluster.crashes.test_crash_points import THOROUGH
from tests.cluster.faults.upgrades.continuity import Continuity
from tests.cluster.faults.upgrades.recording import POINTS as RECORDED
from tests.cluster.faults.upgrades.recording import restored
from tests.cluster.faults.upgrades.releases import PRESENT, Release, earlier
from tests.cluster.faults.upgrades.rotating import Point, opened
from tests.cluster.person import LONG, Manifest, until
from tests.cluster.process import Process
from tests.cluster.stage import DOMAIN, IDENTITY, staged
from tests.cluster.witness import Sight, Witness
from tests.reconcile.serving import Server, running
from troth.reconcile.rehearsal import Place
from troth.resources.references import Ref
from troth.world.facts.objects import ISOLATION_POLICY
from troth.world.index.brokers import credential_ref

LONGEST = 60
"""Limit of a rotation in minutes."""
ROOT, TOKENS = "rotation", "tokenRotation"
POINTS: tuple[Point, ...] = (
    (ROOT, "Distributing"),
    (ROOT, "Reissuing"),
    (ROOT, "Retiring"),
    (TOKENS, "Distributing"),
    (TOKENS, "Retiring"),
)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    """Return a control plane whose CRDs change."""
    yield from conftest.separate_sandbox()


class Store(Server):
    """Keeps every state of every object."""

    def __init__(self, objects: list[Manifest]) -> None:
        self.states: list[Sight] = []
        super().__init__(objects)

    def _store(self, place: Place, stored: Manifest) -> Manifest:
        answer = super()._store(place, stored)
        self.states.append(Sight(0.0, "MODIFIED", answer))
        return answer

    async def delete(self, kind: str, ref: Ref, uid: str) -> Manifest:
        gone = await super().delete(kind, ref, uid)
        self._version += 1
        gone["metadata"]["resourceVersion"] = str(self._version)
        self.states.append(Sight(0.0, "DELETED", gone))
        return gone


def phases(status: Manifest) -> set[str]:
    return {(status.get(name) or {}).get("phase", "Idle") for name in (ROOT, TOKENS)}


@pytest.mark.parametrize("point", RECORDED, ids="-".join)
async def test_recorded_rotation_of_the_earlier_version_is_completed(point: Point) -> None:
    now, name, own, objects = restored(point)
    store, judge, domain = Store(objects), Continuity(name, own), Ref("", name)
    judge.begin(store.states)

    def status() -> Manifest:
        found: Manifest = store.objects[DOMAIN, domain]["status"]
        return found

    def used() -> list[set[str]]:
        return [
            {each["fingerprint"] for each in status()[part]}
            for part in ("authorities", "tokenKeys")
        ]

    assert phases(status()) != {"Idle"}
    before = used()
    async with running(store, now, due=True, own=own) as it:
        await it.settle()
        for _ in range(LONGEST):
            if phases(status()) == {"Idle"} and all(len(each) == 1 for each in used()):
                break
            await it.live(timedelta(minutes=1))
        now = it.clock.now()
    assert store.condition(DOMAIN, domain, "Ready")["status"] == "True"
    judge.judge(store.states)
    assert [len(new) for new in used()] == [1, 1]
    assert all(new != old for new, old in zip(used(), before, strict=True))
    assert len(judge.roots) == 2
    store.log.clear()
    async with running(store, now, own=own) as it:
        await it.settle()
    assert store.log == []


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Release:
    return earlier(tmp_path_factory.mktemp("earlier"))


@pytest.mark.skipif(not THOROUGH, reason="make campaign runs the earlier version")
@pytest.mark.parametrize("point", POINTS, ids="-".join)
async def test_upgrade_in_the_middle_of_a_rotation_completes_it(
    sandbox: Sandbox, before: Release, tmp_path: Path, point: Point
) -> None:
    before.install_crds(sandbox)
    async with staged(sandbox) as stage, opened(stage, tmp_path) as shop:
        old = shop.start(before)
        await old.leads()
        await shop.declare()
        PRESENT.install_crds(sandbox)
        first = await shop.credentials()
        await shop.rotate()
        await shop.reaches(point)
        await shop.kill(old)
        new = shop.start(PRESENT)
        await new.leads()
        await shop.ends(first)
        await shop.ready()
        await shop.judged()
        shop.no_tracebacks()


@pytest.mark.skipif(not THOROUGH, reason="make campaign runs the earlier version")
@pytest.mark.parametrize("point", [(ROOT, "Distributing"), (ROOT, "Reissuing")], ids="-".join)
async def test_downgrade_in_the_middle_of_a_rotation_completes_it_with_the_earlier_crds(
    sandbox: Sandbox, before: Release, tmp_path: Path, point: Point
) -> None:
    """With the newer CRDs, the earlier version cannot read the statuses, and changes nothing."""
    PRESENT.install_crds(sandbox)
    async with staged(sandbox) as stage, opened(stage, tmp_path) as shop:
        operator = shop.start(PRESENT)
        await operator.leads()
        await shop.declare()
        first = await shop.credentials()
        await shop.rotate()
        await shop.reaches(point)
        await shop.kill(operator)
        operator = shop.start(before)
        await operator.leads()
        await operator.visited(4)
        await shop.judged()
        await shop.kill(operator)
        before.install_crds(sandbox)
        operator = shop.start(before)
        await operator.leads()
        await shop.ends(first)
        await shop.ready()
        await shop.judged()
        isolation = Ref(stage.shop, ISOLATION_POLICY)
        assert await stage.person.get("NetworkPolicy", isolation)
        shop.no_tracebacks()


@pytest.mark.skipif(not THOROUGH, reason="make campaign runs the earlier version")
@pytest.mark.parametrize("phase", ["Prepared", "Overlapping"])
async def test_upgrade_in_the_middle_of_a_credential_rotation_drops_no_credential(
    sandbox: Sandbox, before: Release, nats: Account, tmp_path: Path, phase: str
) -> None:
    """The credential in the Secret is always admitted; the old one ends with the overlap."""
    PRESENT.install_crds(sandbox)  # the earlier ones reject what only this version knows
    async with staged(sandbox) as stage, AsyncExitStack() as stack:
        market, person = await Market.on(stage, nats, "5s"), stage.person
        teams = publisher(namespace=stage.shop), subscriber(namespace=stage.shop)
        await person.put(market.broker(), *teams, market.policy())
        before.install_crds(sandbox)
        tether = stack.enter_context(Tether(tmp_path / "processes"))
        tether.directory.mkdir()
        place = credential_ref(market.checkout, market.main)
        old = Process(tether, "old", stage.kubeconfig, stage.own, checkout=before.checkout)
        await old.leads()
        await market.in_place()
        witness = Witness(sandbox.kubeconfig, "Secret", stage.shop)
        await stack.enter_async_context(witness)
        PRESENT.install_crds(sandbox)
        first = (await market.data(market.checkout))["user.creds"]
        client = await market.client(market.checkout)

        async def seen() -> str:
            status = (await person.the(IDENTITY, market.checkout))["status"]
            return str(status["brokers"][0].get("phase", "Idle"))

        moment = stamp(datetime.now(UTC) + timedelta(seconds=1))
        await person.put(builders.rotation(IDENTITY, "checkout", stage.shop, requestedAt=moment))
        await until(seen, lambda found: found == phase)
        await person.put(market.broker())  # with the fields that this version requires
        await asyncio.to_thread(old.kill)
        assert not market.cut_off(client)
        await market.client(market.checkout)
        await person.delete("Lease", Ref(stage.own, "troth-operator"))
        new = Process(tether, "new", stage.kubeconfig, stage.own)
        await new.leads()

        async def replaced() -> bool:
            again = await market.client(market.checkout)  # raises if it is not admitted
            await again.close()
            issued = (await market.data(market.checkout))["user.creds"]
            return issued != first and await seen() == "Idle"

        await until(replaced, bool, LONG)

        async def cut_off() -> bool:
            return market.cut_off(client)

        await until(cut_off, bool)
        await market.in_place()
        await market.works()
        states = [each for each in await witness.everything() if each.name == place.name]
        assert len({data_of(each.manifest)["user.creds"] for each in states}) == 2
        assert await market.signing_keys() == 2
        assert "Traceback" not in old.output + new.output
