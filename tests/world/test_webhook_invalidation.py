"""Every key whose plan depends on a change of webhooks is affected.

Every endpoint, identity and rotation is planned before and after every change.
"""

import copy
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import builders
from tests.builders import NOW, Cluster, Manifest, stamp
from tests.changed_manifests import changed
from tests.strategies import fewer, half, often, sometimes
from tests.webhook_builders import INBOUND, ONE, TWO, endpoint, issued, keys, leading, report
from tests.webhook_scene import GATEWAY, HOOKS, SERVED, accepts_gateway, gateway, scene, target
from tests.world.test_invalidation import broken
from tests.world.watching import Watch
from troth.planning.planner import plan
from troth.resources.references import Ref
from troth.trust.declarations import gateway_loads
from troth.trust.declarations.gateway_loads import ROOM
from troth.world.index.rotations import rotation_key
from troth.world.keys import Key, domain_key, identity_key, webhook_key

ROOM_FOR_ONE = 500
"""Millionths that one target of a gateway takes, and two do not."""
WORK = {"path": "/events", "workflow": "settle"}
ENDPOINTS = ("stripe-charges", "second", "a.b")
GATEWAYS = (Ref(GATEWAY, GATEWAY), Ref("edge", "edge"))
PODS = {"matchLabels": {"app": GATEWAY}}
"""The gateway's, so that whoever selects them collides with it."""
EVERYBODY: list[Key] = [
    *(webhook_key(Ref("shop", name)) for name in ENDPOINTS),
    *(rotation_key(Ref("shop", f"{name}-rotation")) for name in ENDPOINTS),
    *map(identity_key, (*GATEWAYS, Ref("shop", "payments"), Ref("shop", "other"))),
    domain_key("production"),
    domain_key("staging"),
]


def all_plans(cluster: Cluster) -> dict[Key, Any]:
    return {key: plan(key, cluster.world, cluster.moment) for key in EVERYBODY}


names = st.sampled_from(ENDPOINTS)


HELD = ("TrustDomain", "ServiceIdentity", "CredentialRotation", "WebhookEndpoint")


@st.composite
def some_endpoint(draw: st.DrawFn) -> Manifest:
    name = draw(names)
    made = draw(st.sampled_from((endpoint(name), issued(name=name), issued("GitHub", name=name))))
    if draw(sometimes):
        made = changed(made, f"{INBOUND}.gateway", {"name": "edge", "namespace": "edge"})
    if draw(sometimes):
        place = draw(st.sampled_from(("identity.name", "port", "workflow")))
        made = changed(made, f"{INBOUND}.target.{place}", "other")
    return broken(made) if draw(sometimes) else made


@st.composite
def some_target(draw: st.DrawFn) -> Manifest:
    accepted = [accepts_gateway()] if draw(often) else []
    if draw(half):
        accepted.append(accepts_gateway(name="edge", namespace="edge"))
    spec: Manifest = {"accepts": accepted}
    if draw(sometimes):
        spec["ports"] = [(HOOKS, draw(st.sampled_from((9443, 8443))))]
    if draw(sometimes):
        spec["account"] = draw(st.sampled_from(("payments", "other")))
    if draw(sometimes):
        spec["pods"] = {"matchLabels": {"app": draw(st.sampled_from(("payments", "other")))}}
    made = target(**spec)
    return broken(made) if draw(sometimes) else made


@st.composite
def some_gateway(draw: st.DrawFn) -> Manifest:
    ref = draw(st.sampled_from(GATEWAYS))
    served: dict[str, Any] = {"servesWebhooks": SERVED} if draw(often) else {}
    made = builders.identity(ref.name, ref.namespace, **served)
    return broken(made) if draw(sometimes) else made


@st.composite
def some_namespace(draw: st.DrawFn) -> Manifest:
    labels = {"webhooks": "yes"} if draw(often) else {}
    if draw(often):
        labels["domain"] = draw(st.sampled_from(("production", "production", "staging")))
    made = builders.namespace(draw(st.sampled_from(("shop", GATEWAY, "edge"))), **labels)
    if draw(half):
        made["metadata"]["deletionTimestamp"] = stamp(NOW)
    return made


@st.composite
def some_domain(draw: st.DrawFn) -> Manifest:
    """Production or staging; it may let the other in, be broken, or claim what is the other's."""
    name, other = draw(st.permutations(("production", "staging")))
    spec: Manifest = {}
    if draw(half):
        spec |= {"allowEnvironments": [other], "federatesWith": [{"name": other}]}
    if draw(sometimes):
        spec["namespaceSelector"] = {"matchLabels": {"webhooks": "yes"}}
    made = builders.domain(name, **spec)
    return broken(made) if draw(sometimes) else made


@st.composite
def some_secret(draw: st.DrawFn) -> Manifest:
    texts = draw(st.dictionaries(st.sampled_from("ab"), st.sampled_from((ONE, TWO, "short"))))
    made = keys(**texts) if texts else keys() | {"data": {}}
    if draw(sometimes):
        made["metadata"]["labels"]["app.kubernetes.io/managed-by"] = "troth"
    return made


others = st.sampled_from((("payments", 9443), ("payments", 8443), ("second", "webhooks")))
anything = st.one_of(
    some_endpoint(),
    some_endpoint(),
    some_target(),
    some_gateway(),
    some_namespace(),
    some_secret(),
    st.builds(lambda to: leading(to[0], target=to[1]), others),
    st.builds(lambda name, key: report(f"shop.{name}", **{key: NOW}), names, st.sampled_from("ab")),
    st.builds(
        lambda name: builders.rotation("WebhookEndpoint", name, requestedAt=stamp(NOW)), names
    ),
    some_domain(),
    st.builds(
        lambda name, confined: builders.authority_secret(name, constrained=confined),
        st.sampled_from(("production", "staging")),
        st.booleans(),
    ),
    st.sampled_from(
        (
            builders.identity("other"),
            builders.identity("other", ports=[(HOOKS, 9443)], accepts=[accepts_gateway()]),
            builders.identity("other", GATEWAY, pods=PODS),
        )
    ),
)


@fewer(2)
@given(st.data())
def test_every_key_with_a_changed_plan_is_affected(data: st.DataObject) -> None:
    more = [gateway("edge", "edge"), issued("GitHub", name="second"), keys(a=ONE), leading()]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gateway_loads, "ROOM", data.draw(st.sampled_from((ROOM, ROOM_FOR_ONE))))
        cluster = Cluster.of(builders.authority_secret(), *scene(*more)).settle()
        watch = Watch(cluster, all_plans)
        for _ in range(data.draw(st.integers(1, 8))):
            _change(watch, data)
        watch.assert_like_afresh()


def test_target_that_loses_its_place_at_the_gateway_is_affected(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The older one of two targets takes the only place when it comes to accept the gateway."""
    monkeypatch.setattr(gateway_loads, "ROOM", ROOM_FOR_ONE)
    second = endpoint("second", target={"identity": {"name": "other"}, "port": HOOKS} | WORK)
    cluster = Cluster.of(builders.authority_secret(), *scene(second)).settle()
    keys = identity_key(Ref("shop", "payments")), webhook_key(Ref("shop", "stripe-charges"))
    before = [cluster.plan(key) for key in keys]
    older = builders.identity("other", ports=[(HOOKS, 9443)], accepts=[accepts_gateway()])
    older["metadata"]["creationTimestamp"] = stamp(NOW - timedelta(days=1))
    affected = cluster.put(older)
    assert all(cluster.plan(key) != plan for key, plan in zip(keys, before, strict=True))
    assert affected >= {*keys, identity_key(GATEWAYS[0])}
    affected = cluster.drop("WebhookEndpoint", Ref("shop", "second"))
    assert affected >= {*keys, identity_key(GATEWAYS[0])}


def _change(watch: Watch, data: st.DataObject) -> None:
    cluster = watch.cluster
    what = ("put", "put", "put", "drop", "delete", "visit", "visit", "hand")
    match data.draw(st.sampled_from(what)):
        case "put":
            made = data.draw(anything)
            watch(f"put {made['kind']} {Ref.of(made)}", cluster.put, made)
        case "drop":
            place = data.draw(st.sampled_from(sorted(cluster.objects)))
            watch(f"drop {place}", cluster.drop, *place)
        case "delete":
            _delete(watch, data)
        case "visit":
            _visit(watch, data.draw(st.sampled_from(EVERYBODY)))
        case _:
            _touch(watch, data)


def _delete(watch: Watch, data: st.DataObject) -> None:
    """Delete something declared that a finalizer of another program holds."""
    cluster = watch.cluster
    there = sorted(place for place in cluster.objects if place[0] in HELD)
    if not there:
        return
    place = data.draw(st.sampled_from(there))
    held = copy.deepcopy(cluster.objects[place])
    held["metadata"]["finalizers"] = ["example.com/hold"]
    watch(f"hold {place}", cluster.put, held)
    watch(f"delete {place}", cluster.delete, *place)


def _visit(watch: Watch, key: Key) -> None:
    cluster = watch.cluster
    for step in cluster.plan(key).pending(cluster.world):
        told = f"{type(step).__name__} for {key}"
        watch(told, lambda step=step: cluster.carry_out(step) | {key})
    stored, made = cluster.objects.get((key.kind, key.ref)), cluster.plan(key)
    if stored is not None and made.status is not None:
        watch(f"status of {key}", cluster.put, {**stored, "status": dict(made.status)})


def _touch(watch: Watch, data: st.DataObject) -> None:
    """Somebody changes a Secret of Troth's by hand."""
    cluster = watch.cluster
    there = [
        place
        for place, each in sorted(cluster.objects.items())
        if place[0] == "Secret" and str(each.get("type")).startswith("troth.dev/webhook")
    ]
    if not there:
        return
    touched = copy.deepcopy(cluster.objects[data.draw(st.sampled_from(there))])
    match data.draw(st.sampled_from(("data", "labels", "annotations", "type"))):
        case "data":
            touched["data"] = {"key.a": "AAAA"}
        case "labels":
            touched["metadata"]["labels"] = {"app.kubernetes.io/managed-by": "troth"}
        case "annotations":
            touched["metadata"]["annotations"] = {}
        case _:
            touched["type"] = "Opaque"
    watch(f"touch {Ref.of(touched)}", cluster.put, touched)


@pytest.mark.parametrize(
    ("gone", "beside"),
    [(Ref("shop", "payments"), GATEWAYS[0]), (GATEWAYS[0], Ref("shop", "payments"))],
    ids=["target", "gateway"],
)
def test_identity_that_was_unreadable_requeues_the_other_side_of_its_webhooks(
    gone: Ref, beside: Ref
) -> None:
    cluster = Cluster.of(*scene(target(accepts=[])))
    cluster.put(broken(cluster.objects["ServiceIdentity", gone]))
    assert identity_key(beside) in cluster.drop("ServiceIdentity", gone)


def test_endpoint_that_is_being_deleted_is_affected_when_its_namespace_is_too() -> None:
    cluster = Cluster.of(*scene(issued("GitHub", name="second"))).settle()
    key = webhook_key(Ref("shop", "second"))
    held = copy.deepcopy(cluster.objects["WebhookEndpoint", key.ref])
    held["metadata"]["finalizers"] = ["example.com/hold"]
    cluster.put(held)
    cluster.delete("WebhookEndpoint", key.ref)
    before = cluster.plan(key)
    namespace = copy.deepcopy(cluster.objects["Namespace", Ref("", "shop")])
    namespace["metadata"]["deletionTimestamp"] = stamp(NOW)
    affected = cluster.put(namespace)
    assert cluster.plan(key) != before
    assert key in affected
