"""An unreadable object affects no other, and grants nothing.

The cluster of these tests has every kind that Troth watches.
"""

import copy
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests import builders, webhook_builders, webhook_scene, workloads
from tests.builders import NOW, OWN, Cluster, Manifest, accept, call
from tests.messaging import broker, consumer, policy, producer, review
from troth.planning.plan import Plan
from troth.planning.planner import plan
from troth.planning.steps.objects import Apply, Restart
from troth.resources.kinds import KIND_BY_NAME
from troth.resources.references import Ref
from troth.trust.declarations.peers import Declared
from troth.world.facts.objects import UNREADABLE
from troth.world.keys import METADATA_OF, Key
from troth.world.watch_class import SCHEMA, watch_class_of
from troth.world.world import HANDLERS

WHY = "spec.ports: nested deeper than 128 levels; remove levels from it"
ORDERS = {"policy": {"name": "orders"}}
GOING = {"name": "main", "namespace": "legal", "deletionTimestamp": builders.stamp(NOW)}


def schemas() -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "schemas", "namespace": "shop", "labels": {SCHEMA: "true"}},
        "data": {"schema.json": '{"type":"object"}'},
    }


def everything() -> list[Manifest]:
    """What people declare and what else there is of every kind, in the order to create it in."""
    accepts = [webhook_scene.accepts_gateway(), accept("web")]
    calls = [call("payments"), {"kubernetesAPI": True}]
    restart = {"restart": [{"kind": kind, "name": "payments"} for kind in workloads.APPS]}
    return [
        builders.namespace("messaging", domain="production"),
        *webhook_scene.scene(
            webhook_scene.target(
                accepts=accepts, publishes=[ORDERS], onRotation=restart, account="payments"
            ),
            builders.domain(tokens={}),
            webhook_builders.issued(scheme="StandardWebhooks"),
        ),
        builders.authority_secret(),
        builders.identity("web", calls=calls, consumes=[ORDERS]),
        builders.identity("bystander"),
        broker(),
        schemas(),
        policy(
            producers=[producer("payments")],
            consumers=[consumer("web", "readers")],
            schema={"configMapRef": {"name": "schemas"}},
        ),
        builders.rotation(),
        review(),
        webhook_builders.leading(),
        webhook_builders.keys(main=webhook_builders.ONE),
        webhook_builders.report(main=NOW),
        builders.endpoint_slice("10.0.0.1"),
        *(workloads.workload(kind=kind) for kind in workloads.APPS),
        workloads.budget(allowed=1),
        *({"kind": each, "metadata": GOING} for each in METADATA_OF.values()),
    ]


def cluster() -> Cluster:
    """All of it, and what Troth has written for it."""
    made = Cluster()
    made.world.workloads.enabled = True
    for each in everything():
        made.put(each)
    made.settle()
    return made


SETTLED = cluster()
PLACES = sorted(SETTLED.objects)
EVERYBODY = [*SETTLED.keys(), *SETTLED.views()]
BY_KIND = {
    watch_class_of(each, OWN): place
    for place, each in sorted(SETTLED.objects.items(), reverse=True)
}


def settled() -> Cluster:
    return copy.deepcopy(SETTLED)


def unreadable(manifest: Manifest) -> Manifest:
    """The object as the client hands it on: cut, and marked."""
    return {**manifest, "spec": None, "data": None, UNREADABLE: WHY}


def plans(of: Cluster) -> dict[Key, Plan]:
    return {key: plan(key, of.world, of.moment) for key in EVERYBODY}


def rules(of: Cluster, made: dict[Key, Plan]) -> Iterator[tuple[Any, ...]]:
    """Yield every rule of every NetworkPolicy that is there or about to be written."""
    policies = {("NetworkPolicy", Ref.of(each)): each for each in of.policies()}
    for each in made.values():
        for step in each.steps:
            if isinstance(step, Apply) and step.manifest["kind"] == "NetworkPolicy":
                policies["NetworkPolicy", Ref.of(step.manifest)] = step.manifest
    for place, manifest in policies.items():
        for side in ("ingress", "egress"):
            for rule in manifest["spec"].get(side) or []:
                yield place, side, json.dumps(rule, sort_keys=True)


def test_the_cluster_has_every_kind_that_is_watched() -> None:
    assert set(BY_KIND) == set(HANDLERS)


@pytest.mark.parametrize("place", PLACES, ids=lambda place: f"{place[0]} {place[1]}")
def test_unreadable_object_opens_nothing_and_others_are_planned(
    place: tuple[str, Ref],
) -> None:
    it = settled()
    before = set(rules(it, plans(it)))
    it.see(unreadable(_newer(it, it.objects[place])))
    after = plans(it)
    assert set(rules(it, after)) <= before
    assert not any(isinstance(step, Restart) for each in after.values() for step in each.steps)
    assert list(it.world.quarantined.values()) == [WHY]


@pytest.mark.parametrize("place", PLACES, ids=lambda place: f"{place[0]} {place[1]}")
def test_object_that_becomes_readable_again_is_as_before(place: tuple[str, Ref]) -> None:
    it = settled()
    before = plans(it)
    was = it.objects[place]
    it.see(unreadable(_newer(it, was)))
    it.see(_newer(it, was))
    assert not it.world.quarantined
    assert not it.world.unreadable
    after = plans(it)
    assert {key: each.steps for key, each in after.items()} == {
        key: _at_version(each.steps, was, it.objects[place]) for key, each in before.items()
    }


@pytest.mark.parametrize("place", PLACES, ids=lambda place: f"{place[0]} {place[1]}")
def test_deleted_unreadable_object_is_gone(place: tuple[str, Ref]) -> None:
    it, gone = settled(), settled()
    it.see(unreadable(_newer(it, it.objects[place])))
    it.drop(*place)
    gone.drop(*place)
    assert not it.world.quarantined
    assert not it.world.unreadable
    assert _plans_without_messages(it) == _plans_without_messages(gone)


@pytest.mark.parametrize("kind", sorted(KIND_BY_NAME))
def test_unreadable_resource_is_treated_like_an_invalid_spec(kind: str) -> None:
    it, invalid = settled(), settled()
    place = BY_KIND[kind]
    newer = _newer(it, it.objects[place])
    _newer(invalid, newer)
    concerned = it.see(unreadable(newer))
    assert invalid.see({**newer, "spec": {**newer["spec"], "unheardOf": 1}}) == concerned
    assert _plans_without_messages(it) == _plans_without_messages(invalid)
    status = plan(Key(*place), it.world, it.moment).status
    assert status is not None
    ready = next(each for each in status["conditions"] if each["type"] == "Ready")
    assert (ready["status"], ready["reason"], ready["message"]) == ("False", "InvalidSpec", WHY)


# What is not expected


def failing_once(take: Callable[..., Any], moment: str) -> Callable[..., Any]:
    """Return a handler that fails the first time, before or after it has done its work."""
    errors: list[Exception] = [KeyError("spec") if moment == "before" else RecursionError()]

    def failing(*arguments: Any) -> Any:
        error = errors.pop() if errors else None
        if error is not None and moment == "before":
            raise error
        affected = take(*arguments)
        if error is not None:
            raise error
        return affected

    return failing


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("kind", sorted(HANDLERS))
def test_object_whose_handler_fails_is_quarantined(
    kind: str, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    it, marked = settled(), settled()
    place = BY_KIND[kind]
    newer = _newer(it, it.objects[place])
    _newer(marked, newer)
    marked.see(unreadable(newer))
    monkeypatch.setitem(HANDLERS, kind, failing_once(HANDLERS[kind], moment))
    affected = it.see(newer)
    assert _plans_without_messages(it) == _plans_without_messages(marked)
    assert set(EVERYBODY) - {Key(*place)} <= affected
    (why,) = it.world.quarantined.values()
    assert why.startswith("Troth failed to read the object (")


@pytest.mark.parametrize("kind", sorted(KIND_BY_NAME))
def test_resource_whose_handler_always_fails_is_withdrawn(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    it, marked = settled(), settled()
    place = BY_KIND[kind]
    newer = _newer(it, it.objects[place])
    _newer(marked, newer)
    marked.see(unreadable(newer))

    def fail(*_: Any) -> None:
        raise ValueError(kind)

    monkeypatch.setitem(HANDLERS, kind, fail)
    it.see(newer)
    assert _plans_without_messages(it) == _plans_without_messages(marked)
    it.drop(*place)
    assert it.world.unreadable == {}
    (why,) = it.world.quarantined.values()
    assert why.startswith("Troth failed to forget the object (ValueError in test_quarantine.py:")


def test_partially_declared_identity_is_withdrawn_completely(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    it, marked = settled(), settled()
    place = "ServiceIdentity", Ref("shop", "web")
    newer = _newer(it, it.objects[place])
    newer["spec"] = {**newer["spec"], "calls": [call("bystander")]}
    newer["spec"]["workload"] = {**newer["spec"]["workload"], "serviceAccountName": "other"}
    _newer(marked, newer)
    marked.see(unreadable(newer))

    def fail(_: Any) -> Declared:
        raise KeyError("calls")

    monkeypatch.setattr(Declared, "by", fail)
    it.see(newer)
    monkeypatch.undo()
    assert _plans_without_messages(it) == _plans_without_messages(marked)
    assert it.world.registry.naming(Ref("shop", "bystander")) == frozenset()
    it.put({**newer, "metadata": {"name": "web", "namespace": "shop"}})
    assert it.settle().condition(Key(*place), "Ready")["reason"] != "InvalidSpec"


def test_unreadable_metadata_does_not_keep_an_unreadable_identity_in_force() -> None:
    it = settled()
    place = "ServiceIdentity", Ref("shop", "web")
    newer = _newer(it, it.objects[place])
    newer["metadata"]["creationTimestamp"] = "yesterday"
    it.see(newer)
    assert place[1] in it.world.registry.invalid_identities
    assert it.world.quarantined == {}


def test_object_that_cannot_be_forgotten_is_withdrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    it, gone = settled(), settled()
    place = "TopicPolicy", Ref("shop", "orders")

    def fail(*_: Any) -> None:
        raise ValueError

    monkeypatch.setitem(HANDLERS, "TopicPolicy", fail)
    it.world.forget(*place, it.version + 1, uptime=0.0)
    monkeypatch.undo()
    it.objects.pop(place)
    gone.drop(*place)
    assert _plans_without_messages(it) == _plans_without_messages(gone)


def test_unreadable_budget_allows_no_restart_in_its_namespace() -> None:
    it = settled()
    target = it.world.workloads.get("Deployment", Ref("shop", "payments"))
    assert target is not None
    assert it.world.workloads.forbidding(target) is None
    it.see(unreadable(_newer(it, it.objects["PodDisruptionBudget", Ref("shop", "payments")])))
    assert it.world.workloads.forbidding(target) is not None


def _newer(of: Cluster, manifest: Manifest) -> Manifest:
    """The same object at a later version."""
    of.version += 1
    newer = copy.deepcopy(manifest)
    newer["metadata"]["resourceVersion"] = str(of.version)
    return newer


def _plans_without_messages(of: Cluster) -> dict[Key, Any]:
    """What is planned for everybody, whatever the sentence says of a resource's own fault."""
    said = {}
    for key in EVERYBODY:
        made = plan(key, of.world, of.moment)
        status = copy.deepcopy(made.status) if made.status is not None else None
        for each in (status or {}).get("conditions", []):
            if each["reason"] == "InvalidSpec":
                del each["message"]
        said[key] = made.steps, status
    return said


def _at_version(steps: Any, before: Manifest, after: Manifest) -> Any:
    old, new = before["metadata"]["resourceVersion"], after["metadata"]["resourceVersion"]
    return tuple(
        type(step)(
            **{
                name: new if value == old else value
                for name, value in ((n, getattr(step, n)) for n in step.__dataclass_fields__)
            }
        )
        for step in steps
    )
