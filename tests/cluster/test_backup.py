"""A cluster that is wiped and restored: the same roots, keys and ledgers, and nothing is issued."""

import base64
import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.brokers.nats.stage import Stage as Account
from tests.cluster import chart
from tests.cluster.brokers.market import Market
from tests.cluster.command import Ended, troth
from tests.cluster.person import LONG, Manifest
from tests.cluster.stage import DOMAIN, HELD, IDENTITY, Stage
from tests.cluster.webhooks.shop import GATEWAY, Shop, opened
from tests.cluster.webhooks.shop import KIND as ENDPOINT
from tests.guides.pages import page
from tests.reconcile.brokers.at_work import admin_secrets
from tests.webhook_builders import endpoint, leading
from troth.cli.backup.file import read
from troth.cli.backup.portable import OWNED, content, place_of
from troth.planning.owned_objects import secret_ref
from troth.resources.references import Ref
from troth.world.facts.objects import MANAGED_BY

GUIDE = page("operations/backup.md")

Kept = dict[tuple[str, Ref], Manifest]


@dataclass
class System:
    """A trust domain with a broker, a token key, a webhook gateway and its endpoint."""

    market: Market
    hooks: Shop

    @property
    def stage(self) -> Stage:
        return self.market.stage

    @property
    def given(self) -> list[Manifest]:
        """Objects that users made and that are no resources of Troth."""
        mine = [self.market.here(each) for each in admin_secrets(self.market.nats)]
        return [*mine, leading(namespace=self.stage.shop)]

    async def ready(self) -> None:
        await self.market.in_place()
        await self.stage.person.ready(DOMAIN, Ref("", self.stage.name))
        for kind, ref in (
            (IDENTITY, Ref(self.hooks.gates, GATEWAY)),
            (IDENTITY, Ref(self.stage.shop, "payments")),
            (ENDPOINT, self.hooks.charges),
        ):
            await self.stage.person.ready(kind, ref)
        await self.stage.settled()

    async def owned(self) -> Kept:
        """Return what Troth wrote, except what belongs to one cluster: metadata, and a UID."""
        found: Kept = {}
        for kind in OWNED:
            for namespace in (self.stage.own, *self.stage.namespaces):
                for each in await self.stage.person.all(kind, namespace):
                    if each["metadata"].get("labels", {}).get(MANAGED_BY) == "troth":
                        found[kind, Ref.of(each)] = content(each)
        compiled = found["Secret", self.hooks.compiled_ref]["data"]
        document = json.loads(base64.b64decode(compiled["endpoint.json"]))
        compiled["endpoint.json"] = document | {"uid": ""}
        return found

    async def back_up(self, folder: Path) -> Path:
        """Back up with the commands of the guide, and return the file of `troth backup`."""
        await self.stage.operator.stop()
        backup, *exports = (
            folder / name for name in ("backup.json", "declared.json", "owned.json")
        )
        (command,) = re.findall(r"^\$ troth (backup --write) \S+$", GUIDE, re.MULTILINE)
        ended = await troth(self.stage.sandbox.kubeconfig, *command.split(), str(backup))
        assert ended.code == 0, ended.errors
        commands = re.findall(r"^ *\$ kubectl (get .*) > (\w+\.json)$", GUIDE, re.MULTILINE)
        assert [name for _, name in commands] == [each.name for each in exports]
        for command, name in commands:
            printed = await self.market.kubectl(*command.split())
            (folder / name).write_text(printed)
        saved, exported = (
            {place_of(each): each for each in read(files)} for files in ([backup], exports)
        )
        assert saved.items() <= exported.items()
        return backup

    async def wipe(self) -> None:
        """Delete everything without an operator, as the loss of the cluster does."""
        person, namespaces = self.stage.person, (*self.stage.namespaces, self.stage.own)
        await chart.uninstall(person, self.stage.installed)
        for namespace in namespaces:
            for kind in HELD:
                for each in await person.all(kind, namespace):
                    await person.edit(kind, Ref.of(each), {"metadata": {"finalizers": None}})
            await person.delete("Namespace", Ref("", namespace))
        await person.delete(DOMAIN, Ref("", self.stage.name))
        for namespace in namespaces:
            await person.misses("Namespace", Ref("", namespace), LONG)

    async def restore_without_state(self, file: Path, identity: Ref) -> None:
        """Restore an identity and its Secret as other tools do: without status and owner."""
        items = read([file])
        secret = secret_ref(identity)
        parts = ("Namespace", Ref("", identity.namespace)), (IDENTITY, identity), ("Secret", secret)
        for kind, ref in parts:
            (found,) = (each for each in items if place_of(each) == (kind, ref))
            kept = {name: found["metadata"].get(name) for name in ("name", "namespace", "labels")}
            found = {name: value for name, value in found.items() if name != "status"}
            await self.stage.person.create({**found, "metadata": kept})

    async def restore(self, file: Path) -> Ended:
        assert "\n   $ troth restore -f troth-backup.json\n" in GUIDE
        return await troth(self.stage.sandbox.kubeconfig, "restore", "-f", str(file))

    async def start(self) -> None:
        """Install the chart, and start an operator."""
        await self.stage.install()
        await self.stage.kubeconfig_of(Ref(self.stage.own, self.stage.own))
        await self.stage.run()


@pytest.fixture
async def system(lonely_stage: Stage, nats: Account) -> AsyncIterator[System]:
    market = await Market.on(lonely_stage, nats)
    hooks = await opened(lonely_stage, bundle={"propagation": "1m"}, tokens={})
    system = System(market, hooks)
    await lonely_stage.run()
    await market.open()
    await hooks.declare(endpoint())
    await system.ready()
    yield system
    assert not market.forbidden


async def test_restored_cluster_keeps_every_key_and_changes_nothing_at_the_broker(
    system: System, tmp_path: Path
) -> None:
    market, stage, person = system.market, system.stage, system.stage.person
    before, principals = await system.owned(), await market.principals()
    identity = await person.the(IDENTITY, market.fulfilment)
    running = await market.client(market.checkout)
    backup = await system.back_up(tmp_path)
    await system.wipe()
    pushes = await market.nats.pushes()

    await system.restore_without_state(backup, market.checkout)
    ended = await system.restore(backup)
    assert (ended.code, ended.errors) == (0, ""), ended
    for each in system.given:
        await person.put(each)
    again = await system.restore(backup)
    assert "\n0 objects restored" in f"\n{again.output}"
    assert again.code == 0

    await system.start()
    await system.ready()
    assert await system.owned() == before
    assert await pushes() == 0
    assert principals
    assert await market.principals() == principals
    assert not market.cut_off(running)
    await market.works()
    assert await market.signing_keys() == 2

    # each client still owns the fields that it applied, so that it can remove them
    restored = await person.the(IDENTITY, market.fulfilment)
    assert restored["metadata"]["uid"] != identity["metadata"]["uid"]
    assert _managers(restored) == _managers(identity)

    refused = await system.restore(backup)
    assert refused.code == 2
    assert f"Lease {stage.own}/troth-operator: the operator copy-1 leads" in refused.errors

    await stage.operator.stop()
    await person.delete("Secret", secret_ref(market.fulfilment))
    partial = await system.restore(backup)
    assert partial.code == 1
    changed = f"Secret {system.hooks.compiled_ref} exists with other content, and was not changed\n"
    assert partial.output.startswith(f"{changed}1 objects restored, ")


def _managers(resource: Manifest) -> set[tuple[str, str]]:
    return {(each["manager"], each["operation"]) for each in resource["metadata"]["managedFields"]}
