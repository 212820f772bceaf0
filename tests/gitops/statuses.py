"""Resources of every kind, with the statuses that Troth writes, from the first apply to a stall."""

import asyncio
import copy
from collections.abc import Iterator
from datetime import timedelta

from tests import builders, virtual_time
from tests.builders import Manifest
from tests.reconcile.fields import DECLARED
from tests.reconcile.memory_brokers import in_memory
from tests.reconcile.serving import Running, Server, running
from troth.planning.verdicts import READY, RECONCILING, STALLED
from troth.reconcile.brokers.work import BrokerWork
from troth.reconcile.status.stall_delay import DELAY
from troth.resources.kinds import KIND_BY_NAME
from troth.resources.references import Ref

WEBHOOK_KEYS_KNOWN = timedelta(minutes=2)
"""Longer than the propagation delay, after which webhook targets accept gateways' keys."""


def written() -> list[Manifest]:
    """Return copies of all resources at each stage of a cluster's life."""
    return virtual_time.run(_life())


async def _life() -> list[Manifest]:
    server = Server(DECLARED)
    found = list(_resources(server))  # not seen by Troth yet
    with in_memory():
        async with running(server, due=True, rollouts=True) as it:
            await _settle(it)
            found += _resources(server)
            await it.clock.move_to(it.clock.now() + WEBHOOK_KEYS_KNOWN)
            await _settle(it)
            found += _resources(server)
            await _break(it)
            found += _resources(server)
            await it.clock.move_to(it.clock.now() + timedelta(seconds=DELAY))
            await _settle(it)
            found += _resources(server)
            for each in _resources(server):  # a new spec that Troth has not seen yet
                server.put({**each, "spec": {**each["spec"], "new": True}})
            found += _resources(server)
            await it.engine.close()
    return found


async def _break(it: Running) -> None:
    """Take away what resources of every kind need."""
    for each in list(_resources(it.server)):
        if each["kind"] == "MessageBroker":
            for described in each["spec"].values():
                if isinstance(described, dict) and "adminSecretRef" in described:
                    described["adminSecretRef"]["name"] = "missing"
            await it.put(each)
    await it.drop("ServiceIdentity", Ref("shop", "checkout"))
    for each in list(_resources(it.server)):
        if each["kind"] == "TrustDomain":
            selector = each["spec"]["namespaceSelector"]
            name = f"twin-of-{each['metadata']['name']}"
            await it.put(builders.domain(name, namespaceSelector=selector))
    await _settle(it)


async def _settle(it: Running) -> None:
    work = it.engine.background
    assert isinstance(work, BrokerWork)
    await asyncio.sleep(60)  # virtual time, for due keys and retries
    await it.settle()
    while work.busy:
        await work.settled()
        await it.settle()


def _resources(server: Server) -> Iterator[Manifest]:
    for (kind, _), manifest in server.objects.items():
        if kind in KIND_BY_NAME:
            yield copy.deepcopy(manifest)


def conditions(resource: Manifest) -> dict[str, Manifest]:
    """Return the conditions of Troth that summarize the others, by type."""
    listed = resource.get("status", {}).get("conditions", [])
    return {each["type"]: each for each in listed if each["type"] in (READY, RECONCILING, STALLED)}
