"""Restarts on a real API server, whose controllers report when a rollout is complete.

No node runs here, so the workloads have no pods. Tests with pods are in tests/truth.
"""

from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from sandbox import Sandbox
from tests.cluster.person import Manifest, condition
from tests.cluster.stage import DOMAIN, IDENTITY, Stage, staged
from troth.resources.references import Ref
from troth.world.facts.objects import RESTARTED_WITH
from troth.world.index.workloads import BUDGET, KINDS

PROPAGATION = timedelta(minutes=3)


@pytest.fixture
async def rolling(established: Sandbox) -> AsyncIterator[Stage]:
    """Install Troth from its chart with the right to restart workloads, without starting it."""
    async with staged(established, rollouts=True) as setting:
        yield setting


async def without_pods(stage: Stage) -> list[tuple[str, Ref]]:
    """Create a workload of each kind, with zero replicas or without a node to run on."""
    places = [(kind, Ref(stage.shop, kind.lower())) for kind in KINDS]
    for kind, ref in places:
        labels = {"matchLabels": {"app": "payments"}}
        template = {
            "metadata": {"labels": labels["matchLabels"]},
            "spec": {"containers": [{"name": "program", "image": "program"}]},
        }
        scale = {} if kind == "DaemonSet" else {"replicas": 0}
        await stage.person.put(
            {
                "apiVersion": "apps/v1",
                "kind": kind,
                "metadata": {"name": ref.name, "namespace": ref.namespace},
                "spec": {"selector": labels, "template": template, **scale},
            }
        )
    return places


async def renewed(stage: Stage) -> Ref:
    """Declare an identity that restarts the workloads, and let its certificate be renewed."""
    domain = await stage.domain()
    await stage.run()
    await stage.person.ready(DOMAIN, domain)
    listed = [{"kind": kind, "name": ref.name} for kind, ref in await without_pods(stage)]
    identity = await stage.identity("payments", onRotation={"restart": listed})
    await stage.person.ready(IDENTITY, identity)
    await stage.settled()
    await stage.later(timedelta(hours=17))
    await stage.settled()
    return identity


def evidence(manifest: Manifest) -> str:
    annotations = manifest["spec"]["template"]["metadata"].get("annotations", {})
    return str(annotations.get(RESTARTED_WITH, ""))


async def test_each_kind_is_restarted_once_with_one_write(rolling: Stage) -> None:
    identity = await renewed(rolling)
    rolling.requests.clear()
    await rolling.later(2 * PROPAGATION)
    await rolling.person.hears(IDENTITY, identity, "RolledOut", "InUse", "True")
    await rolling.settled()
    leaf = (await rolling.person.the(IDENTITY, identity))["status"]["certificate"]["fingerprint"]
    for kind in KINDS:
        found = await rolling.person.the(kind, Ref(rolling.shop, kind.lower()))
        assert evidence(found).split()[0] == leaf
        assert found["metadata"]["generation"] == 2
    writes = rolling.requests.writes
    del writes["serviceidentities"]  # its status reports each restart
    assert writes == Counter({"deployments": 1, "statefulsets": 1, "daemonsets": 1})
    told = await rolling.person.events(rolling.shop)
    assert told.count(("Restarted", "payments")) == len(KINDS)


async def test_without_the_right_nothing_is_watched_and_status_names_the_value(
    stage: Stage,
) -> None:
    identity = await renewed(stage)
    await stage.later(2 * PROPAGATION)
    await stage.settled()
    told = condition(await stage.person.the(IDENTITY, identity), "RolledOut")
    assert (told["status"], told["reason"]) == ("Unknown", "RolloutsDisabled")
    assert "set the chart value rollouts.enabled to true" in told["message"]
    plurals = {f"{kind.lower()}s" for kind in (*KINDS, BUDGET)}
    assert plurals.isdisjoint(resource for _, resource, _ in stage.requests.made)
    for kind in KINDS:
        assert not evidence(await stage.person.the(kind, Ref(stage.shop, kind.lower())))
