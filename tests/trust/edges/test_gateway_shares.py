"""Shares of a webhook gateway among the namespaces of its targets."""

from collections.abc import Iterator
from datetime import timedelta
from itertools import chain
from typing import Any

import pytest

from tests import builders
from tests.builders import NOW, Manifest, call, identity, registry, stamp
from tests.webhook_builders import endpoint
from tests.webhook_scene import GATEWAY, HOOKS, accepts_gateway, gateway
from troth.resources.identity.status import EdgeState
from troth.resources.references import Ref
from troth.resources.webhooks.endpoint import WebhookEndpoint
from troth.trust.declarations import gateway_loads
from troth.trust.declarations.registry import Registry
from troth.trust.edges.declared import edges_of
from troth.trust.edges.gateway_shares import SHARE_EXCEEDED

AT_GATEWAY = Ref(GATEWAY, GATEWAY)
MANY, FEW = "shop", "legal"


@pytest.fixture(autouse=True)
def room_for_six(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each target of these tests takes 338 to 366 millionths."""
    monkeypatch.setattr(gateway_loads, "ROOM", 6 * 366)


def target(namespace: str, number: int, **spec: Any) -> tuple[Manifest, Manifest]:
    """Return a target, older the lower its number, and an endpoint that leads there."""
    name = f"target-{number}"
    declared: Manifest = {"ports": [(HOOKS, 9443)], "accepts": [accepts_gateway()]}
    made = identity(name, namespace, **declared | spec)
    made["metadata"]["creationTimestamp"] = stamp(NOW + timedelta(seconds=number))
    to = {"identity": {"name": name}, "port": HOOKS, "path": "/events", "workflow": "settle"}
    return made, endpoint(name, namespace, target=to)


def targets(namespace: str, *numbers: int, **spec: Any) -> Iterator[Manifest]:
    return chain.from_iterable(target(namespace, each, **spec) for each in numbers)


def declared(*manifests: Manifest, **served: str) -> Registry:
    labels = {"domain": "production", "webhooks": "yes"}
    return registry(
        builders.domain(),
        builders.namespace(GATEWAY, domain="production"),
        builders.namespace(MANY, **labels | served),
        builders.namespace(FEW, **labels),
        gateway(),
        *manifests,
    )


def without_place(found: Registry) -> set[str]:
    """Return the targets for which there is no room, as they and the gateway see it."""
    edges = edges_of(found, AT_GATEWAY, NOW)
    for edge in edges:
        assert edge in edges_of(found, edge.callee, NOW)
    refused = [edge for edge in edges if edge.reason == SHARE_EXCEEDED]
    assert all(edge.state is EdgeState.REFUSED for edge in refused)
    others = {edge.state for edge in edges if edge not in refused}
    assert others <= {EdgeState.LIVE, EdgeState.AWAITING_CALLER}
    return {str(edge.callee) for edge in refused}


def test_namespace_above_its_share_loses_its_newest_targets() -> None:
    found = declared(*targets(MANY, *range(9)), *targets(FEW, 100, 101))
    assert without_place(found) == {f"{MANY}/target-{number}" for number in range(4, 9)}


def test_nobody_loses_a_target_while_all_fit() -> None:
    assert without_place(declared(*targets(MANY, *range(4)), *targets(FEW, 100, 101))) == set()


def test_message_says_what_to_do() -> None:
    found = declared(*targets(MANY, *range(9)))
    edge = next(each for each in edges_of(found, AT_GATEWAY, NOW) if each.reason == SHARE_EXCEEDED)
    assert edge.message == (
        f"{GATEWAY}/{GATEWAY} has no room for all targets of webhooks, and namespace shop uses "
        "more than its share, so the newest targets there, among them shop/target-6, get no "
        "deliveries; remove WebhookEndpoints of this namespace, or use another gateway"
    )


@pytest.mark.parametrize("spec", [{"accepts": []}, {"accepts": [accepts_gateway(name="edge")]}])
def test_target_that_does_not_accept_the_gateway_takes_no_room(spec: Manifest) -> None:
    found = declared(*targets(MANY, *range(20), **spec), *targets(FEW, *range(100, 106)))
    assert {edge.state for edge in edges_of(found, Ref(FEW, "target-105"), NOW)} == {EdgeState.LIVE}


def test_namespace_that_is_not_served_takes_no_room() -> None:
    found = declared(*targets(MANY, *range(20)), *targets(FEW, *range(100, 106)), webhooks="no")
    assert {edge.state for edge in edges_of(found, Ref(FEW, "target-105"), NOW)} == {EdgeState.LIVE}


def test_target_that_the_gateway_itself_calls_keeps_its_edge() -> None:
    found = declared(*targets(MANY, *range(9)))
    calls = [call("target-8", HOOKS, namespace=MANY)]
    found.put_identity(builders.parsed_identity(gateway(calls=calls)))
    assert f"{MANY}/target-8" not in without_place(found)


def test_large_pod_selector_takes_the_room_of_many_targets() -> None:
    large = {f"example.com/{number:050}": "v" * 63 for number in range(8)}
    many = (target(MANY, n, pods={"matchLabels": {"app": f"{n}", **large}}) for n in range(3))
    found = declared(*chain.from_iterable(many), *targets(FEW, 100, 101))
    assert without_place(found) == {f"{MANY}/target-{number}" for number in (1, 2)}


def test_place_that_becomes_free_goes_to_the_oldest_without_one() -> None:
    found = declared(*targets(MANY, *range(8)))
    assert without_place(found) == {f"{MANY}/target-{number}" for number in (6, 7)}
    found.drop_webhook(Ref(MANY, "target-0"))
    assert without_place(found) == {f"{MANY}/target-7"}
    found.drop_identity(Ref(MANY, "target-1"))
    places = {str(edge.callee) for edge in edges_of(found, AT_GATEWAY, NOW) if edge.reason == ""}
    assert places == {f"{MANY}/target-{number}" for number in range(2, 8)}


def test_unreadable_target_keeps_its_place() -> None:
    found = declared(*targets(MANY, *range(7)))
    assert without_place(found) == {f"{MANY}/target-6"}
    found.refuse_identity(Ref(MANY, "target-3"), "spec.accepts: is not a list")
    edges = edges_of(found, AT_GATEWAY, NOW)
    states = {edge.callee.name: edge.state for edge in edges}
    assert states["target-3"] is EdgeState.SUSPENDED
    assert states["target-6"] is EdgeState.REFUSED


def test_target_of_which_nothing_is_known_takes_no_room() -> None:
    """Nobody has listed its namespace, and it turns out that the target does not exist."""
    found = declared(*targets(MANY, *range(6)))
    found.unlisted.expect({FEW})
    for number in range(100, 103):
        _, leading = target(FEW, number)
        found.put_webhook(WebhookEndpoint.model_validate(leading))
    assert {edge.reason for edge in edges_of(found, Ref(MANY, "target-5"), NOW)} == {""}
