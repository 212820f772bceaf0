"""The call of a gateway, which endpoints declare and the target must accept."""

from collections.abc import Callable
from functools import partial

import pytest

from tests import builders
from tests.builders import NOW, Manifest, accept, domain, gateway_only, identity, registry
from tests.counting import calls_of
from tests.webhook_builders import endpoint, outbound
from tests.webhook_scene import (
    GATEWAY,
    HOOKS,
    OTHER,
    accepts_gateway,
    gateway,
    namespaces,
    scene,
    target,
)
from troth.resources.identity.status import EdgeState
from troth.resources.references import Ref
from troth.resources.webhooks.endpoint import WebhookEndpoint
from troth.trust.declarations.registry import Registry
from troth.trust.edges.declared import all_edges, edges_from, edges_of

AT_GATEWAY = Ref(GATEWAY, GATEWAY)
TARGET = Ref("shop", "payments")
ENDPOINT = Ref("shop", "stripe-charges")
LIVE = (EdgeState.LIVE, "")


def verdict(declared: Registry, port: str = HOOKS) -> tuple[EdgeState, str]:
    """What there is between gateway and target on a port, told alike by both."""
    by_target, by_gateway = (
        [
            edge
            for edge in edges_of(declared, ref, NOW)
            if (edge.caller, edge.port) == (AT_GATEWAY, port)
        ]
        for ref in (TARGET, AT_GATEWAY)
    )
    assert by_target == by_gateway
    (edge,) = by_target
    assert (edge.caller, edge.callee) == (AT_GATEWAY, TARGET)
    assert (edge.message == "") == (edge.state is EdgeState.LIVE)
    return edge.state, edge.reason


def message(declared: Registry) -> str:
    (edge,) = edges_of(declared, TARGET, NOW)
    return edge.message


def test_endpoint_declares_the_gateways_call() -> None:
    assert verdict(registry(*scene())) == LIVE


def test_edges_from_a_gateway_include_its_deliveries() -> None:
    (edge,) = edges_from(registry(*scene()), AT_GATEWAY, NOW)
    assert (edge.callee, edge.port, edge.state) == (TARGET, HOOKS, EdgeState.LIVE)
    assert edges_from(registry(*scene()), AT_GATEWAY, NOW, among=lambda _: False) == ()


CLOSED: dict[str, tuple[list[Manifest], EdgeState, str]] = {
    "the target does not accept the gateway": (
        [target(accepts=[])],
        EdgeState.AWAITING_CALLEE,
        "NotAccepted",
    ),
    "the target has no such port": (
        [target(ports=["https"], accepts=[])],
        EdgeState.AWAITING_CALLEE,
        "PortUndeclared",
    ),
    "the endpoint is for another port": (
        [endpoint(target={**endpoint()["spec"]["inbound"]["target"], "port": "https"})],
        EdgeState.AWAITING_CALLER,
        "NotCalled",
    ),
    "the endpoint names another gateway": (
        [endpoint(gateway=OTHER)],
        EdgeState.AWAITING_CALLER,
        "NotCalled",
    ),
    "the endpoint is outbound": (
        [outbound("stripe-charges")],
        EdgeState.AWAITING_CALLER,
        "NotCalled",
    ),
    "the gateway does not serve the namespace": (
        namespaces(webhooks="no"),
        EdgeState.REFUSED,
        "NamespaceNotAllowed",
    ),
    "the port is another caller's too": (
        [
            identity("checkout"),
            target(accepts=[accepts_gateway(), accept("checkout", HOOKS)]),
        ],
        EdgeState.REFUSED,
        "PortShared",
    ),
    "the port is a stranger's too": (
        [target(accepts=[accepts_gateway(), builders.unverified(HOOKS, cidrs=["10.0.0.0/8"])])],
        EdgeState.REFUSED,
        "PortShared",
    ),
    "the target cannot verify anything": (
        [
            target(
                accepts=[accepts_gateway()],
                authentication=gateway_only(GATEWAY, NOW + builders.DAY, GATEWAY),
            )
        ],
        EdgeState.REFUSED,
        "TargetHasNoCertificate",
    ),
}


@pytest.mark.parametrize(("instead", "state", "reason"), CLOSED.values(), ids=list(CLOSED))
def test_delivery_edge_stays_closed(instead: list[Manifest], state: EdgeState, reason: str) -> None:
    assert verdict(registry(*scene(*instead))) == (state, reason)


def test_endpoint_declares_no_call_of_an_identity_that_serves_no_webhooks() -> None:
    ordinary = gateway()
    del ordinary["spec"]["servesWebhooks"]
    assert verdict(registry(*scene(ordinary))) == (EdgeState.AWAITING_CALLER, "NotCalled")


def test_other_port_may_be_shared() -> None:
    also = target(accepts=[accepts_gateway(), accept("checkout", "https")])
    checkout = identity("checkout", calls=[builders.call("payments", "https")])
    assert verdict(registry(*scene(also, checkout))) == LIVE


def test_consent_of_the_callee_alone_opens_nothing_for_a_gateway() -> None:
    """What it hands on is not its own, so that its side is always declared."""
    lenient = domain(consent="Callee")
    without = [each for each in scene(lenient) if each["kind"] != "WebhookEndpoint"]
    assert verdict(registry(*without)) == (EdgeState.AWAITING_CALLER, "NotCalled")
    assert verdict(registry(*scene(lenient))) == LIVE


def test_gateway_may_declare_calls_of_its_own() -> None:
    calling = gateway(calls=[builders.call("payments", "https", namespace="shop")])
    shared = target(accepts=[accepts_gateway("https", HOOKS), accept("checkout", "https")])
    declared = registry(*scene(calling, shared, identity("checkout")))
    assert verdict(declared, "https") == LIVE
    assert verdict(declared, HOOKS) == LIVE


def test_missing_accept_is_reported_with_what_to_write_and_the_endpoint() -> None:
    deaf = registry(*scene(target(accepts=[])))
    assert message(deaf) == (
        "shop/payments does not accept troth-gateway/troth-gateway on webhooks; add {from: {name: "
        "troth-gateway, namespace: troth-gateway}, ports: [webhooks]} to its accepts for "
        "WebhookEndpoint shop/stripe-charges"
    )


def test_missing_accept_of_a_declared_call_names_no_endpoint() -> None:
    calling = gateway(calls=[builders.call("payments", HOOKS, namespace="shop")])
    deaf = registry(*scene(calling, target(accepts=[])))
    assert message(deaf).endswith("on webhooks; add it to its accepts")


def test_endpoint_of_an_unserved_namespace_is_listed_nowhere() -> None:
    """Whoever may declare endpoints somewhere could else fill the gateway's status."""
    declared = registry(*scene(*namespaces(webhooks="no"), target(accepts=[])))
    assert all_edges(declared, NOW) == ()


def test_deleted_endpoint_removes_the_call() -> None:
    declared = registry(*scene())
    declared.drop_webhook(ENDPOINT)
    assert verdict(declared) == (EdgeState.AWAITING_CALLER, "NotCalled")
    assert declared.neighbours(AT_GATEWAY) == {TARGET}, "whom it accepts"


def test_unreadable_endpoint_opens_nothing_and_closes_nothing() -> None:
    declared = registry(*scene())
    declared.refuse_webhook(ENDPOINT, "no")
    assert verdict(declared) == (EdgeState.SUSPENDED, "EndpointInvalid")
    assert "WebhookEndpoint shop/stripe-charges cannot be read" in message(declared)
    declared.put_webhook(registry(*scene()).webhooks.endpoints[ENDPOINT])
    assert verdict(declared) == LIVE


def test_unreadable_endpoint_suspends_nothing_beside_a_readable_one() -> None:
    declared = registry(*scene())
    declared.refuse_webhook(Ref("shop", "other"), "no")
    assert verdict(declared) == LIVE


@pytest.mark.parametrize(
    ("instead", "reason"),
    [
        (namespaces(webhooks="no"), "NamespaceNotAllowed"),
        (
            [target(accepts=[accepts_gateway(), accept("checkout", HOOKS)])],
            "PortShared",
        ),
        ([target(accepts=[])], "none"),
    ],
)
def test_refused_edge_closes_despite_an_unreadable_endpoint(
    instead: list[Manifest], reason: str
) -> None:
    declared = registry(*scene(*instead))
    declared.refuse_webhook(ENDPOINT, "no")
    edges = [each for each in edges_of(declared, TARGET, NOW) if each.caller == AT_GATEWAY]
    assert [each.reason for each in edges] == [reason for _ in edges]
    assert all(each.state is EdgeState.REFUSED for each in edges)


def test_unreadable_endpoint_does_not_affect_other_namespaces() -> None:
    declared = registry(*scene())
    declared.drop_webhook(ENDPOINT)
    declared.refuse_webhook(Ref("edge", "other"), "no")
    assert verdict(declared) == (EdgeState.AWAITING_CALLER, "NotCalled")


def test_two_gateways_may_share_a_port() -> None:
    both = target(accepts=[accepts_gateway(), accepts_gateway(name="edge", namespace="edge")])
    declared = registry(
        *scene(both, gateway("edge", "edge"), endpoint("second", gateway=OTHER)),
    )
    assert {(each.state, each.reason) for each in all_edges(declared, NOW)} == {
        (EdgeState.REFUSED, "PortShared")
    }


def test_endpoint_is_found_from_gateway_and_target() -> None:
    declared = registry(*scene(target(accepts=[])))
    assert declared.neighbours(TARGET) == {AT_GATEWAY}
    assert declared.neighbours(AT_GATEWAY) == {TARGET}
    assert declared.webhooks.gateways_for("shop") == {AT_GATEWAY}
    assert [each.endpoint for each in declared.webhooks.through(AT_GATEWAY)] == [ENDPOINT]
    declared.drop_webhook(ENDPOINT)
    assert declared.neighbours(TARGET) == frozenset()
    assert declared.webhooks.gateways_for("shop") == frozenset()
    assert declared.webhooks.through(AT_GATEWAY) == declared.webhooks.to(TARGET) == ()


def test_every_change_of_an_endpoint_increments_the_revision() -> None:
    declared = registry(*scene())
    seen = [declared.revision]
    declared.refuse_webhook(ENDPOINT, "no")
    seen.append(declared.revision)
    declared.drop_webhook(ENDPOINT)
    seen.append(declared.revision)
    assert seen == sorted(set(seen))


def judged(targets: int, *, readable: bool) -> Callable[[], object]:
    """Return the work of judging all edges of a gateway that accept it, each for an endpoint."""
    accepts = [accepts_gateway()]
    declared = registry(
        *namespaces(),
        domain(),
        gateway(),
        *(
            identity(f"w{each}", "shop", ports=[(HOOKS, 9443)], accepts=accepts)
            for each in range(targets)
        ),
    )
    for each in range(targets):
        if readable:
            to = {"identity": {"name": f"w{each}"}, "port": HOOKS, "path": "/", "workflow": "w"}
            declared.put_webhook(WebhookEndpoint.parse(endpoint(f"e{each}", target=to)))
        else:
            declared.refuse_webhook(Ref("shop", f"e{each}"), "unreadable")
    edges = partial(edges_of, declared, AT_GATEWAY, NOW)
    states = {edge.state for edge in edges()}
    assert states == {EdgeState.LIVE if readable else EdgeState.SUSPENDED}
    return edges


@pytest.mark.parametrize("readable", [True, False], ids=["live", "unreadable"])
def test_work_for_an_edge_does_not_grow_with_the_endpoints(readable: bool) -> None:
    few, many = (calls_of(judged(count, readable=readable)) for count in (20, 220))
    assert many / 220 <= few / 20
