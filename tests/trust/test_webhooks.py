"""The call of a gateway, which endpoints declare for it, and the target accepts as any other."""

import pytest

from tests import builders
from tests.builders import NOW, Manifest, accept, domain, gateway_only, identity, registry
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
from troth.trust.edges import all_edges, edges_from, edges_of
from troth.trust.registry import Registry

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


def test_an_endpoint_is_the_gateways_side_of_the_call() -> None:
    assert verdict(registry(*scene())) == LIVE


def test_whoever_lists_the_calls_of_the_gateway_finds_it() -> None:
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
def test_nothing_opens_where(instead: list[Manifest], state: EdgeState, reason: str) -> None:
    assert verdict(registry(*scene(*instead))) == (state, reason)


def test_an_identity_that_serves_no_webhooks_is_given_no_calls_by_an_endpoint() -> None:
    ordinary = gateway()
    del ordinary["spec"]["servesWebhooks"]
    assert verdict(registry(*scene(ordinary))) == (EdgeState.AWAITING_CALLER, "NotCalled")


def test_another_port_may_be_shared() -> None:
    also = target(accepts=[accepts_gateway(), accept("checkout", "https")])
    checkout = identity("checkout", calls=[builders.call("payments", "https")])
    assert verdict(registry(*scene(also, checkout))) == LIVE


def test_the_consent_of_the_callee_alone_opens_nothing_for_a_gateway() -> None:
    """What it hands on is not its own, so that its side is always declared."""
    lenient = domain(consent="Callee")
    without = [each for each in scene(lenient) if each["kind"] != "WebhookEndpoint"]
    assert verdict(registry(*without)) == (EdgeState.AWAITING_CALLER, "NotCalled")
    assert verdict(registry(*scene(lenient))) == LIVE


def test_a_gateway_may_have_calls_of_its_own_as_everybody() -> None:
    calling = gateway(calls=[builders.call("payments", "https", namespace="shop")])
    shared = target(accepts=[accepts_gateway("https", HOOKS), accept("checkout", "https")])
    declared = registry(*scene(calling, shared, identity("checkout")))
    assert verdict(declared, "https") == LIVE
    assert verdict(declared, HOOKS) == LIVE


def test_who_does_not_accept_yet_is_told_what_to_write_and_for_which_endpoint() -> None:
    deaf = registry(*scene(target(accepts=[])))
    assert message(deaf) == (
        "shop/payments does not accept troth-gateway/troth-gateway on webhooks; add {from: {name: "
        "troth-gateway, namespace: troth-gateway}, ports: [webhooks]} to its accepts for "
        "WebhookEndpoint shop/stripe-charges"
    )


def test_where_the_gateway_calls_by_itself_no_endpoint_is_told_of() -> None:
    calling = gateway(calls=[builders.call("payments", HOOKS, namespace="shop")])
    deaf = registry(*scene(calling, target(accepts=[])))
    assert message(deaf).endswith("on webhooks; add it to its accepts")


def test_an_endpoint_of_a_namespace_that_is_not_served_shows_at_nobodys() -> None:
    """Whoever may declare endpoints somewhere could else fill the gateway's status."""
    declared = registry(*scene(*namespaces(webhooks="no"), target(accepts=[])))
    assert all_edges(declared, NOW) == ()


def test_one_that_goes_takes_the_call_with_it() -> None:
    declared = registry(*scene())
    declared.drop_webhook(ENDPOINT)
    assert verdict(declared) == (EdgeState.AWAITING_CALLER, "NotCalled")
    assert declared.neighbours(AT_GATEWAY) == {TARGET}, "whom it accepts"


def test_one_that_cannot_be_read_opens_nothing_and_closes_nothing() -> None:
    declared = registry(*scene())
    declared.refuse_webhook(ENDPOINT, "no")
    assert verdict(declared) == (EdgeState.SUSPENDED, "EndpointInvalid")
    assert "WebhookEndpoint shop/stripe-charges cannot be read" in message(declared)
    declared.put_webhook(registry(*scene()).webhooks.endpoints[ENDPOINT])
    assert verdict(declared) == LIVE


def test_beside_one_that_can_be_read_another_suspends_nothing() -> None:
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
def test_what_is_refused_closes_though_an_endpoint_cannot_be_read(
    instead: list[Manifest], reason: str
) -> None:
    declared = registry(*scene(*instead))
    declared.refuse_webhook(ENDPOINT, "no")
    edges = [each for each in edges_of(declared, TARGET, NOW) if each.caller == AT_GATEWAY]
    assert [each.reason for each in edges] == [reason for _ in edges]
    assert all(each.state is EdgeState.REFUSED for each in edges)


def test_one_that_cannot_be_read_elsewhere_is_nothing_to_this_namespace() -> None:
    declared = registry(*scene())
    declared.drop_webhook(ENDPOINT)
    declared.refuse_webhook(Ref("edge", "other"), "no")
    assert verdict(declared) == (EdgeState.AWAITING_CALLER, "NotCalled")


def test_two_gateways_on_one_port_share_it() -> None:
    both = target(accepts=[accepts_gateway(), accepts_gateway(name="edge", namespace="edge")])
    declared = registry(
        *scene(both, gateway("edge", "edge"), endpoint("second", gateway=OTHER)),
    )
    assert {(each.state, each.reason) for each in all_edges(declared, NOW)} == {
        (EdgeState.REFUSED, "PortShared")
    }


def test_whom_an_endpoint_concerns_is_found_from_both_ends() -> None:
    declared = registry(*scene(target(accepts=[])))
    assert declared.neighbours(TARGET) == {AT_GATEWAY}
    assert declared.neighbours(AT_GATEWAY) == {TARGET}
    assert declared.webhooks.gateways_for("shop") == {AT_GATEWAY}
    assert [each.endpoint for each in declared.webhooks.through(AT_GATEWAY)] == [ENDPOINT]
    declared.drop_webhook(ENDPOINT)
    assert declared.neighbours(TARGET) == frozenset()
    assert declared.webhooks.gateways_for("shop") == frozenset()
    assert declared.webhooks.through(AT_GATEWAY) == declared.webhooks.to(TARGET) == ()


def test_every_change_of_an_endpoint_counts_as_one() -> None:
    declared = registry(*scene())
    seen = [declared.revision]
    declared.refuse_webhook(ENDPOINT, "no")
    seen.append(declared.revision)
    declared.drop_webhook(ENDPOINT)
    seen.append(declared.revision)
    assert seen == sorted(set(seen))
