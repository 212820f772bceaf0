"""etcd is restored from an earlier copy of its data while the operator runs.

Resource versions go back, and objects go back, come back and disappear, without an event. In the
end everything is as the restored declarations say, as if the operator had been started then.
"""

import asyncio
from itertools import count
from pathlib import Path

import pytest
from hypothesis import settings

from sandbox.faults import Relay
from tests import builders
from tests.cluster.faults.store.routes import kubeconfig_through
from tests.cluster.person import Manifest, until, version
from tests.cluster.stage import DOMAIN, IDENTITY, Copy, Stage, leaf_of, opened
from tests.cluster.witness import Witness
from troth.planning.owned_objects import policy_ref, secret_ref
from troth.reconcile.loop.engine import Engine
from troth.reconcile.operator import LEASE
from troth.resources.references import Ref

THOROUGH = settings.get_current_profile_name() == "thorough"
ROUNDS = 5 if THOROUGH else 1
CIRCUMSTANCES = ["seen at once"]
if THOROUGH:
    CIRCUMSTANCES += ["with a standby", "overtaken", "overtaken, without the lease"]


LEASES = 200
"""More than the number of renewals of the lease after the last change of a policy."""


def opens(ports: list[int], policy: Manifest) -> bool:
    return opened(policy, "ingress") == ports


class Shop:
    """Identities whose edges, objects and certificates change after the copy of the store."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage

    async def open(self) -> None:
        """Declare an open and a closed edge, and an identity that is deleted later."""
        stage = self.stage
        domain = await stage.domain()
        await stage.person.ready(DOMAIN, domain)
        self.payments, self.web = await stage.pair()
        self.ledger = await stage.identity("ledger", ports=["https"])
        self.gone = await stage.identity("gone")
        self.late = Ref(stage.shop, "late")
        for ref in (self.ledger, self.gone):
            await stage.person.ready(IDENTITY, ref)
        self.serial = leaf_of(await stage.secret(self.payments)).serial_number

    async def change(self) -> None:
        """Close the open edge, open the closed one, delete one identity and add another."""
        stage = self.stage
        await stage.identity("payments", ports=["https"])  # accepts nobody any more
        await stage.identity("ledger", ports=["https"], accepts=[builders.accept("web")])
        calls = [builders.call("payments"), builders.call("ledger")]
        await stage.identity("web", calls=calls)
        await stage.person.delete(IDENTITY, self.gone)
        await stage.identity("late")
        await stage.person.ready(IDENTITY, self.late)
        await stage.closes(self.payments)
        await self.sees_open(self.ledger, [8443])
        await stage.person.misses(IDENTITY, self.gone)

    async def sees_open(self, ref: Ref, ports: list[int]) -> None:
        await self.stage.person.sees(
            "NetworkPolicy", policy_ref(ref), lambda seen: opens(ports, seen)
        )

    async def is_as_before(self) -> None:
        """Wait until everything is as before the change, and stays so if Troth writes it again."""
        stage = self.stage
        await stage.person.hears(IDENTITY, self.payments, "PeersAgree", "AllLive", "True")
        for ref in (self.payments, self.web, self.ledger, self.gone):
            await stage.person.ready(IDENTITY, ref)
        await settled(stage)
        assert await stage.person.get("Secret", secret_ref(self.late)) is None
        assert leaf_of(await stage.secret(self.payments)).serial_number == self.serial
        for ref, ports in ((self.payments, [8443]), (self.ledger, [])):
            assert opens(ports, await stage.policy(ref))
            await stage.person.delete("NetworkPolicy", policy_ref(ref))
            await self.sees_open(ref, ports)
        # a change shows that no watch waits for a version that lies in the future
        marker = await stage.identity("marker")
        await stage.person.ready(IDENTITY, marker)
        await stage.person.delete(IDENTITY, marker)
        await settled(stage)
        stage.requests.clear()
        await stage.look_again()
        assert stage.requests.made == []


@pytest.mark.parametrize("circumstance", CIRCUMSTANCES)
async def test_operator_follows_a_restored_store(
    lonely_stage: Stage, tmp_path: Path, circumstance: str
) -> None:
    stage, shop, copy = lonely_stage, Shop(lonely_stage), tmp_path / "copy"
    control_plane = stage.sandbox.control_plane
    async with Relay(0, control_plane.port) as relay:
        await stage.run(kubeconfig_through(stage, relay))
        if circumstance == "with a standby":
            await stage.stand_by()
        await shop.open()
        await settled(stage)
        await asyncio.to_thread(control_plane.store.copy_to, copy)
        for _ in range(ROUNDS):
            await shop.change()
            await settled(stage)
            latest = version(await stage.policy(shop.ledger))
            engines = [each.operator.engine for each in stage.copies]
            if overtaken := circumstance.startswith("overtaken"):
                relay.pause()
            await asyncio.to_thread(control_plane.restore, copy)
            if overtaken:
                await overtake(stage, latest)
                if "without the lease" in circumstance:
                    await stage.person.delete("Lease", Ref(stage.own, LEASE))
                relay.resume()
            async with Witness(stage.sandbox.kubeconfig, "NetworkPolicy", stage.shop) as policies:
                await begin_again(stage, engines)
                await shop.is_as_before()
                for sight in await policies.everything():
                    if sight.name == policy_ref(shop.ledger).name and sight.type != "DELETED":
                        assert opens([], sight.manifest), "opened, though nobody declares it"


async def begin_again(stage: Stage, engines: list[Engine]) -> None:
    """Wait until each replica has noticed the restore."""

    async def old() -> bool:
        return any(each.operator.engine in engines for each in stage.copies)

    await until(old, lambda some: not some)


async def settled(stage: Stage) -> None:
    """Wait until the leader has settled, and observe that replica from now on."""

    async def leaders() -> list[Copy]:
        return [each for each in stage.copies if each.operator.leadership.acting]

    leader = (await until(leaders, bool))[0]
    stage.copies.sort(key=lambda each: each is leader)
    await stage.settled()


async def overtake(stage: Stage, latest: str) -> None:
    """Write until the versions are higher than before, so that none is of the future."""
    for number in count():
        labels = {"domain": stage.name, "number": str(number)}
        written = await stage.person.put(builders.namespace(stage.shop, **labels))
        if int(version(written)) > int(latest) + LEASES:
            return
