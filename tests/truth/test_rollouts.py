"""Restarts of real pods when a certificate is renewed, one workload after the other."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from sandbox import Sandbox
from sandbox.node.manifests import workload_spec
from tests.cluster.person import LONG, Manifest, until
from tests.cluster.stage import DOMAIN, IDENTITY, Stage, staged
from tests.sandbox.nodes import pods
from troth.planning.owned_objects import secret_ref
from troth.resources.references import Ref
from troth.world.facts.objects import RESTARTED_WITH

PROPAGATION = timedelta(minutes=3)
REPLICAS = 2
FIRST, SECOND = "payments-api", "payments-worker"


@pytest.fixture
async def rolling(process_pods: Sandbox) -> AsyncIterator[Stage]:
    """Install Troth from its chart with the right to restart workloads, without starting it."""
    async with staged(process_pods, rollouts=True) as setting:
        yield setting


def deployment(namespace: str, name: str) -> Manifest:
    """Return a Deployment of the identity payments with two replicas."""
    labels = {"app": "payments", "part": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "replicas": REPLICAS,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": workload_spec(ports={"https": 8443}, identity="payments-identity"),
            },
        },
    }


async def in_use(stage: Stage, *names: str) -> Ref:
    """Declare an identity with a certificate, and run workloads that use it."""
    domain = await stage.domain()
    await stage.run()
    await stage.person.ready(DOMAIN, domain)
    for name in names:
        await stage.person.put(deployment(stage.shop, name))
    listed = [{"kind": "Deployment", "name": name} for name in names]
    identity = await stage.identity("payments", ports=["https"], onRotation={"restart": listed})
    for name in names:
        await complete(stage, name)
    await stage.person.hears(IDENTITY, identity, "RolledOut", "InUse", "True")
    await stage.settled()
    return identity


async def complete(stage: Stage, name: str) -> Manifest:
    """Wait until a Deployment's rollout is complete."""

    def over(found: Manifest) -> bool:
        status = found["status"]
        counts = [status.get(f"{each}Replicas", 0) for each in ("updated", "available")]
        seen = status.get("observedGeneration") == found["metadata"]["generation"]
        return bool(seen and [status.get("replicas"), *counts] == 3 * [REPLICAS])

    return await stage.person.sees("Deployment", Ref(stage.shop, name), over, LONG)


async def renew(stage: Stage, identity: Ref) -> str:
    """Let the certificate be renewed and the propagation delay pass; return its fingerprint."""
    before = (await stage.secret(identity))["data"]["tls.crt"]
    await stage.later(timedelta(hours=17))
    await stage.person.sees(
        "Secret", secret_ref(identity), lambda seen: seen["data"]["tls.crt"] != before
    )
    await stage.settled()
    await stage.later(2 * PROPAGATION)
    status = (await stage.person.the(IDENTITY, identity))["status"]
    return str(status["certificate"]["fingerprint"])


def restarted_with(manifest: Manifest) -> str:
    annotations = manifest["spec"]["template"]["metadata"].get("annotations", {})
    return str(annotations.get(RESTARTED_WITH, "")).partition(" ")[0]


async def running(stage: Stage, name: str) -> dict[str, Any]:
    """Return the pods of a Deployment that are not terminating."""
    found = await asyncio.to_thread(pods, stage.sandbox, stage.shop)
    return {
        pod_name: pod
        for pod_name, pod in found.items()
        if pod["metadata"]["labels"]["part"] == name and "deletionTimestamp" not in pod["metadata"]
    }


def since(pod: Manifest) -> str:
    """Return when a pod became ready, to the second."""
    (when,) = (
        each["lastTransitionTime"]
        for each in pod["status"]["conditions"]
        if each["type"] == "Ready"
    )
    return str(when)


async def test_pods_are_replaced_one_workload_after_the_other(rolling: Stage) -> None:
    identity = await in_use(rolling, FIRST, SECOND)
    before = {name: await running(rolling, name) for name in (FIRST, SECOND)}
    leaf = await renew(rolling, identity)

    await rolling.person.hears(IDENTITY, identity, "RolledOut", "InUse", "True")
    after = {name: await running(rolling, name) for name in (FIRST, SECOND)}
    for name in (FIRST, SECOND):
        assert restarted_with(await complete(rolling, name)) == leaf
        assert len(after[name]) == REPLICAS
        assert not before[name].keys() & after[name].keys()
    last_of_the_first = max(map(since, after[FIRST].values()))
    assert all(
        last_of_the_first <= pod["metadata"]["creationTimestamp"] for pod in after[SECOND].values()
    )
    ready = await rolling.person.the(IDENTITY, identity)
    assert ready["status"]["certificate"]["fingerprint"] == leaf
    told = await rolling.person.events(rolling.shop)
    assert told.count(("Restarted", "payments")) == 2


async def test_budget_that_requires_every_pod_blocks_the_rollout_and_is_named(
    rolling: Stage,
) -> None:
    identity = await in_use(rolling, FIRST)
    await rolling.person.put(
        {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": {"name": "all-of-them", "namespace": rolling.shop},
            "spec": {"minAvailable": REPLICAS, "selector": {"matchLabels": {"app": "payments"}}},
        }
    )
    before = await running(rolling, FIRST)
    leaf = await renew(rolling, identity)
    said = await rolling.person.hears(IDENTITY, identity, "RolledOut", "BudgetAllowsNone", "False")
    assert said == (
        f"Deployment {rolling.shop}/{FIRST} waits to be restarted for the certificate {leaf}: "
        f"PodDisruptionBudget {rolling.shop}/all-of-them currently allows no disruption of its "
        "pods"
    )
    await rolling.settled()
    assert (await running(rolling, FIRST)).keys() == before.keys()

    patch = {"spec": {"minAvailable": REPLICAS - 1}}
    await rolling.person.edit("PodDisruptionBudget", Ref(rolling.shop, "all-of-them"), patch)
    await until(lambda: running(rolling, FIRST), lambda seen: not seen.keys() & before.keys(), LONG)
    await complete(rolling, FIRST)
    await rolling.person.hears(IDENTITY, identity, "RolledOut", "InUse", "True")
