"""A change of one webhook does not requeue the others of its gateway."""

from collections.abc import Callable, Iterator

import pytest

from tests import builders
from tests.builders import Cluster, Manifest
from tests.changed_manifests import changed
from tests.counting import calls_of
from tests.webhook_builders import INBOUND, endpoint, leading
from tests.webhook_scene import GATEWAY, HOOKS, accepts_gateway, gateway, scene, target
from troth.resources.references import Ref
from troth.world.keys import Keys, webhook_key

CHARGES = webhook_key(Ref("shop", "stripe-charges"))


def market(count: int) -> Iterator[Manifest]:
    """Namespaces of which each has an endpoint of the same gateway's, with a target of its own."""
    for number in range(count):
        name = f"market-{number}"
        yield builders.namespace(name, domain="production", webhooks="yes")
        port = HOOKS, 9443
        yield builders.identity("stall", name, ports=[port], accepts=[accepts_gateway()])
        yield changed(endpoint("stall", name), f"{INBOUND}.target.identity", {"name": "stall"})


def shop(*more: Manifest) -> Cluster:
    return Cluster.of(builders.authority_secret(), *scene(*more), leading())


def endpoints(concerned: Keys) -> set[Ref]:
    return {key.ref for key in concerned if key.kind == "WebhookEndpoint"}


@pytest.mark.parametrize(
    "change",
    [
        target(ports=[(HOOKS, 8443)]),
        target(accepts=[]),
        leading(target=8443),
        builders.namespace("shop", domain="production"),
    ],
    ids=["its port", "its word", "its Service", "its namespace"],
)
def test_change_of_a_target_affects_only_its_endpoints(change: Manifest) -> None:
    assert endpoints(shop(*market(2)).put(change)) == {CHARGES.ref}


@pytest.mark.parametrize(
    "change",
    [
        gateway(calls=[builders.call("ledger", namespace="finance")]),
        builders.namespace(GATEWAY),
        builders.domain(allowEnvironments=["staging"]),
        builders.identity("like", GATEWAY, pods={"matchLabels": {"app": GATEWAY}}),
    ],
    ids=["itself", "its namespace", "its trust domain", "who shares its pods"],
)
def test_change_of_a_gateway_affects_all_its_endpoints(change: Manifest) -> None:
    stalls = {Ref(f"market-{number}", "stall") for number in range(2)}
    assert endpoints(shop(*market(2)).put(change)) == stalls | {CHARGES.ref}


def test_change_of_a_trust_domain_affects_endpoints_without_a_target() -> None:
    """Whether its gateway is given its keys depends on that."""
    cluster = shop()
    cluster.drop("ServiceIdentity", Ref("shop", "payments"))
    assert endpoints(cluster.put(builders.domain(environment="staging"))) == {CHARGES.ref}


def planning(cluster: Cluster) -> int:
    """Return how many calls it takes to plan the endpoint once more."""
    cluster.plan(CHARGES)
    return calls_of(lambda: cluster.plan(CHARGES))


def crowd(count: int) -> Iterator[Manifest]:
    """Endpoints of the same target."""
    return (endpoint(f"other-{number}") for number in range(count))


@pytest.mark.parametrize("others", [crowd, market])
def test_cost_of_planning_an_endpoint_is_independent_of_their_number(
    others: Callable[[int], Iterator[Manifest]],
) -> None:
    assert planning(shop(*others(40))) == planning(shop(*others(2)))
