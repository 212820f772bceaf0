"""What kstatus, and with it Flux and Argo CD, sees of a resource from its first apply on."""

import copy
from datetime import timedelta

import pytest

from tests import builders
from tests.cluster.person import condition
from tests.cluster.stage import DOMAIN, IDENTITY, Stage
from tests.every_kind import SAMPLES
from troth.reconcile.status.stall_delay import DELAY
from troth.resources.conditions import UNOBSERVED
from troth.resources.kinds import KINDS, Kind
from troth.resources.references import Ref


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
async def test_resource_is_in_progress_before_troth_runs(stage: Stage, kind: Kind) -> None:
    """kstatus takes a resource without a status for ready, and one of an older generation for one
    in progress."""
    manifest = copy.deepcopy(SAMPLES[kind.name])
    name = f"{stage.name}-{manifest['metadata']['name']}"
    manifest["metadata"] = {"name": name}
    if kind.namespaced:
        manifest["metadata"]["namespace"] = stage.shop
    else:
        stage.domains.append(name)
    await stage.person.put(manifest)
    stored = await stage.person.the(kind.name, Ref.of(manifest))
    assert stored["status"]["observedGeneration"] == UNOBSERVED
    assert "conditions" not in stored["status"]
    where = ("-n", stage.shop) if kind.namespaced else ()
    shown = stage.sandbox.kubectl("get", kind.plural, name, *where, "-o", "wide")
    assert str(UNOBSERVED) not in shown
    await stage.person.delete(kind.name, Ref.of(manifest))


async def test_identity_that_precedes_its_trust_domain_never_stalls(stage: Stage) -> None:
    await stage.run()
    identity = await stage.identity("payments")
    await stage.person.hears(IDENTITY, identity, "Ready", "NoTrustDomain", "False")
    await stage.settled()
    found = await stage.person.the(IDENTITY, identity)
    assert condition(found, "Stalled")["status"] == "False"
    assert condition(found, "Reconciling")["message"] == condition(found, "Ready")["message"]
    await stage.later(timedelta(seconds=DELAY / 2))
    domain = await stage.domain()
    await stage.person.ready(DOMAIN, domain)
    await stage.person.ready(IDENTITY, identity)
    await stage.settled()
    before = await stage.written()
    await stage.later(timedelta(seconds=2 * DELAY))
    await stage.settled()
    assert await stage.written() == before


async def test_identity_without_a_trust_domain_stalls_after_one_more_write(stage: Stage) -> None:
    await stage.run()
    identity = await stage.identity("payments")
    await stage.person.hears(IDENTITY, identity, "Ready", "NoTrustDomain", "False")
    await stage.settled()
    stage.requests.clear()
    await stage.later(timedelta(seconds=DELAY))
    message = await stage.person.hears(IDENTITY, identity, "Stalled", "NoTrustDomain", "True")
    found = await stage.person.the(IDENTITY, identity)
    assert message == condition(found, "Ready")["message"]
    await stage.later(timedelta(hours=1))
    await stage.settled()
    assert stage.requests.writes == {"serviceidentities": 1}

    await stage.operator.stop()
    await stage.run()
    await stage.settled()
    await stage.later(timedelta(hours=1))
    await stage.settled()
    assert stage.requests.writes == {}, "a restart writes nothing"


async def test_changed_spec_does_not_stall_before_it_had_its_time(stage: Stage) -> None:
    """One commit may change an identity and add the trust domain that it now needs."""
    await stage.run()
    identity = await stage.identity("payments")
    await stage.person.hears(IDENTITY, identity, "Ready", "NoTrustDomain", "False")
    await stage.later(timedelta(seconds=DELAY))
    await stage.person.hears(IDENTITY, identity, "Stalled", "NoTrustDomain", "True")
    await stage.identity("payments", ports=["https"])

    def is_current(found: builders.Manifest) -> bool:
        return bool(condition(found, "Stalled").get("observedGeneration") == 2)

    changed = await stage.person.sees(IDENTITY, identity, is_current)
    assert condition(changed, "Stalled")["status"] == "False"
    assert condition(changed, "Reconciling")["reason"] == "NoTrustDomain"
