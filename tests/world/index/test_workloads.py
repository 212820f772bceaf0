"""Rollouts are evaluated like `kubectl rollout status`, and affect the keys that wait."""

import copy
from typing import Any

import pytest

from tests import builders
from tests.builders import OWN, Manifest, identity, key_of, shop
from tests.workloads import budget, rolled, workload
from tests.world.test_world import reachable
from troth.resources.references import Ref
from troth.world.facts.objects import RESTARTED_WITH, RestartRecord, Workload
from troth.world.index.workloads import KINDS, Workloads
from troth.world.keys import domain_key
from troth.world.world import World

PAYMENTS = Ref("shop", "payments")
every_kind = pytest.mark.parametrize("kind", KINDS)


def observed_workload(*manifests: Manifest) -> Workload:
    """What is known of a workload after it was seen in these forms, a second apart."""
    known = Workloads(enabled=True)
    for second, manifest in enumerate(manifests):
        known.take(manifest["kind"], PAYMENTS, manifest, float(second))
    found = known.get(manifests[-1]["kind"], PAYMENTS)
    assert found is not None
    return found


def at(manifest: Manifest, generation: int, **spec: Any) -> Manifest:
    """The workload at a generation of its spec."""
    changed = copy.deepcopy(manifest)
    changed["metadata"]["generation"] = generation
    changed["spec"] |= spec
    return changed


# How far a rollout is


@every_kind
def test_rollout_is_complete_when_every_pod_is_new_and_available(kind: str) -> None:
    made = at(workload(kind=kind, replicas=3), 4)
    for updated, available, replaced, complete in (
        (0, 3, False, False),
        (2, 2, False, False),
        (3, 2, True, False),
        (3, 3, True, True),
    ):
        found = observed_workload(rolled(made, updated=updated, available=available, there=3))
        assert (found.replaced, found.complete) == (replaced, complete)


@every_kind
def test_status_older_than_the_spec_is_ignored(kind: str) -> None:
    found = observed_workload(at(workload(kind=kind), 2))
    assert not found.replaced
    assert not found.complete
    assert found.pods


@every_kind
def test_new_workload_is_not_complete(kind: str) -> None:
    made = at(workload(kind=kind), 1)
    del made["status"]
    assert not observed_workload(made).complete


def test_workload_that_scales_is_not_complete() -> None:
    assert not observed_workload(rolled(at(workload(), 2, replicas=3))).complete
    assert not observed_workload(rolled(at(workload(), 2, replicas=3), updated=2, there=3)).complete


def test_workload_scaled_to_zero_is_complete_and_has_no_pods() -> None:
    found = observed_workload(rolled(at(workload(replicas=0), 2), 0, 0, 0))
    assert (found.replaced, found.complete, found.pods) == (True, True, False)


# Since when


def test_changing_counts_do_not_reset_since() -> None:
    made = at(workload(), 1)
    assert observed_workload(made, rolled(made, available=1), rolled(made)).since == 0


def test_new_evidence_and_the_end_of_its_rollout_reset_since() -> None:
    made = at(workload(), 1)
    restarted = at(workload(annotations={RESTARTED_WITH: "leaf root"}), 2)
    assert observed_workload(made, restarted).since == 1
    assert observed_workload(made, restarted, rolled(restarted, updated=1)).since == 1
    assert (
        observed_workload(made, restarted, rolled(restarted, updated=1), rolled(restarted)).since
        == 3
    )


def test_namesake_is_another_workload() -> None:
    first, second = at(workload(), 1), at(workload(), 1)
    first["metadata"]["uid"], second["metadata"]["uid"] = "first", "second"
    assert observed_workload(first, rolled(second, updated=1)).replaced is False
    assert observed_workload(first, second).since == 1


def test_evidence_survives_a_round_trip() -> None:
    evidence = RestartRecord("leaf", frozenset({"b", "a"}))
    assert str(evidence) == "leaf a,b"
    for text in (str(evidence), "", "one", "leaf ,"):
        assert RestartRecord.read(str(RestartRecord.read(text))) == RestartRecord.read(text)


# Who is affected


def affected_keys(world: World, manifest: Manifest) -> set[Any]:
    return set(world.observe(manifest, uptime=0.0))


def versioned(manifest: Manifest, version: int) -> Manifest:
    changed = copy.deepcopy(manifest)
    changed["metadata"] |= {"resourceVersion": str(version), "uid": "u", "generation": 1}
    return changed


RESTARTING = identity(onRotation={"restart": [{"kind": "Deployment", "name": "payments"}]})


def world_of(*manifests: Manifest) -> World:
    world = World(OWN, workloads=Workloads(enabled=True))
    for number, manifest in enumerate(manifests):
        world.observe(versioned(manifest, number + 1), uptime=0.0)
    return world


def test_workload_affects_only_identities_that_restart_it() -> None:
    world = world_of(RESTARTING, identity("web"))
    assert affected_keys(world, versioned(workload(), 10)) == {key_of()}
    assert affected_keys(world, versioned(workload(kind="StatefulSet"), 11)) == set()
    assert affected_keys(world, versioned(workload("web", app="web"), 12)) == set()
    assert affected_keys(world, versioned(workload(namespace="elsewhere"), 13)) == set()
    assert world.forget("Deployment", PAYMENTS, 20, uptime=0.0) == {key_of()}
    assert world.workloads.get("Deployment", PAYMENTS) is None


def test_budget_affects_restarting_identities_of_its_namespace() -> None:
    world = world_of(RESTARTING, identity("web"))
    assert affected_keys(world, versioned(budget(), 10)) == {key_of()}
    assert affected_keys(world, versioned(budget(), 11)) == set()
    assert affected_keys(world, versioned(budget(allowed=1), 12)) == {key_of()}
    assert affected_keys(world, versioned(budget(allowed=2), 13)) == set()
    assert affected_keys(world, versioned(budget(namespace="elsewhere"), 14)) == set()
    assert world.forget("PodDisruptionBudget", PAYMENTS, 20, uptime=0.0) == {key_of()}


def test_identity_without_restarts_is_no_longer_affected() -> None:
    world = world_of(RESTARTING)
    world.observe(versioned(identity(), 5), uptime=0.0)
    assert affected_keys(world, versioned(workload(), 10)) == set()


def test_workload_and_budget_affect_a_trust_domain_that_rotates() -> None:
    cluster = shop(RESTARTING)
    assert domain_key("production") not in cluster.put(workload())
    certificate, key = builders.root("production.example", "second")
    prepared = copy.deepcopy(builders.authority_secret())
    prepared["data"] |= builders.secret("x", next_crt=certificate, next_key=key.encode())["data"]
    cluster.put(prepared)
    assert domain_key("production") in cluster.put(workload())
    assert domain_key("production") in cluster.put(identity())
    assert domain_key("production") not in cluster.put(workload())
    assert domain_key("production") in cluster.put(RESTARTING)


# What is kept


@every_kind
def test_optional_fields_may_be_absent(kind: str) -> None:
    metadata = {"name": "payments", "namespace": "shop", "resourceVersion": "3"}
    world = World(OWN)
    world.observe({"kind": kind, "metadata": metadata}, uptime=0.0)
    world.observe(
        {"kind": kind, "metadata": {**metadata, "resourceVersion": "4"}, "spec": {}}, uptime=0.0
    )
    world.observe({"kind": "PodDisruptionBudget", "metadata": metadata}, uptime=0.0)


@every_kind
def test_only_facts_of_a_workload_are_kept(kind: str) -> None:
    made = workload(kind=kind)
    made["spec"]["template"]["spec"]["containers"] = [{"name": "big", "image": "ballast"}]
    assert "ballast" not in list(reachable(observed_workload(at(made, 1)), set()))
