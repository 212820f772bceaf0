"""An exception in one part of a plan becomes a condition, and the other parts still act."""

import copy
from typing import Any

import pytest

from tests.broker_builders import (
    CHECKOUT,
    FULFILMENT,
    MAIN,
    ORDERS,
    give_credentials,
    market,
    sync_broker,
)
from tests.broker_plans import settled
from tests.builders import domain, namespace
from tests.messaging import broker
from tests.planning.network.test_broker_policy import WORKLOAD
from tests.reconcile.serving import Server, running
from tests.reconcile.test_faults import assert_reported, surprising
from tests.webhook_builders import ONE, TWO, issued, keys, leading
from tests.webhook_scene import PROPAGATION, scene
from troth.planning.brokers import exposure as broker_exposure
from troth.planning.brokers import planner as broker_planner
from troth.planning.brokers import status as broker_status
from troth.planning.grants import edges_validated, exclusive, message_schemas, topic_policy
from troth.planning.plan import Plan
from troth.planning.steps.objects import Apply, SetFinalizers
from troth.planning.trust_domain import authority, bundles, isolation, tokens
from troth.planning.trust_domain.issuer import certificate
from troth.planning.webhooks import gateway as webhook_gateway
from troth.planning.webhooks import keys as webhook_keys
from troth.planning.webhooks import reach as webhook_reach
from troth.planning.webhooks import rotation as webhook_rotation
from troth.planning.webhooks import status as webhook_status
from troth.resources.references import Ref
from troth.world.keys import broker_key, domain_key, policy_key, webhook_key

ENDPOINT, COMPILED = Ref("shop", "stripe-charges"), Ref("troth-gateway", "shop.stripe-charges")
BUNDLE = "ConfigMap", Ref("shop", "trust-bundle")
ISOLATION = "NetworkPolicy", Ref("shop", "troth-isolation")
DOMAIN_PARTS = [
    pytest.param(authority, "_begun", None, id="authority"),
    pytest.param(authority, "plan_rotation", None, id="root"),
    pytest.param(bundles, "bundle_files", BUNDLE, id="bundles"),
    pytest.param(isolation, "_exceptions", ISOLATION, id="isolation"),
    pytest.param(tokens, "_own_steps", None, id="tokens"),
    pytest.param(certificate, "_part", None, id="issuer"),
]


@pytest.mark.faulty
@pytest.mark.parametrize(("module", "name", "broken"), DOMAIN_PARTS)
async def test_fault_in_one_part_of_a_trust_domain_does_not_block_bundles_and_isolation(
    module: Any, name: str, broken: tuple[str, Ref] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    production = domain(tokens={}, isolation="Namespace")
    server = Server([namespace("shop", domain="production"), production])
    async with running(server) as it:
        await it.settle()
        before = copy.deepcopy(server.objects["TrustDomain", Ref("", "production")]["status"])
        monkeypatch.setattr(module, name, surprising)
        for place in (BUNDLE, ISOLATION):
            await it.drop(*place)
        assert_reported(server, domain_key("production"))
        assert {BUNDLE, ISOLATION} - server.objects.keys() == ({broken} if broken else set())
        status = server.objects["TrustDomain", Ref("", "production")]["status"]
        for field in ("authorities", "isolation", "tokenKeys"):
            assert status[field] == before[field]


WEBHOOK_PARTS = [
    pytest.param(webhook_keys, "rechecks", id="keys"),
    pytest.param(webhook_rotation, "plan_secret", id="rotation"),
    pytest.param(webhook_gateway, "_compilation", id="gateway"),
    pytest.param(webhook_reach, "_verdict", id="target"),
    pytest.param(webhook_status, "residual_replay", id="report"),
]


@pytest.mark.faulty
@pytest.mark.parametrize(("module", "name"), WEBHOOK_PARTS)
async def test_fault_in_one_part_of_an_endpoint_does_not_keep_a_removed_key_at_the_gateway(
    module: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server([*scene(issued(), keys(old=ONE, new=TWO)), leading()])
    async with running(server, due=True) as it:
        await it.settle()
        await it.live(PROPAGATION)
        before = copy.deepcopy(server.objects["WebhookEndpoint", ENDPOINT]["status"])
        monkeypatch.setattr(module, name, surprising)
        await it.put(keys(new=TWO))
        assert_reported(server, webhook_key(ENDPOINT))
        held = server.objects["Secret", COMPILED]["data"]
        assert {each for each in held if each.startswith("key.")} == {"key.new"}
        status = server.objects["WebhookEndpoint", ENDPOINT]["status"]
        assert (status["url"], status["residualReplay"]) == (
            before["url"],
            before["residualReplay"],
        )


POLICY_PARTS = [
    pytest.param(topic_policy, "grant_statuses", id="grants"),
    pytest.param(topic_policy, "claims_of", id="claims"),
    pytest.param(message_schemas, "schema_of", id="schema"),
    pytest.param(exclusive, "unsupported", id="exclusive"),
    pytest.param(edges_validated, "needs_guard", id="edges"),
]


@pytest.mark.faulty
@pytest.mark.parametrize(("module", "name"), POLICY_PARTS)
def test_fault_in_one_part_of_a_policy_does_not_block_its_finalizer(
    module: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, cluster = policy_key(ORDERS), market()
    give_credentials(cluster, CHECKOUT, FULFILMENT)
    cluster.visit(key)
    sync_broker(cluster)
    cluster.visit(key)
    stored = copy.deepcopy(cluster.objects["TopicPolicy", ORDERS])
    stored["metadata"]["finalizers"] = []
    cluster.put(stored)
    before = stored["status"]
    monkeypatch.setattr(module, name, surprising)
    plan = cluster.plan(key)
    assert [type(each) for each in plan.steps] == [SetFinalizers]
    assert plan.status is not None
    assert (plan.status["grants"], plan.status["claims"]) == (before["grants"], before["claims"])
    assert ready(plan) == ("False", "InternalError")


BROKER_PARTS = [
    pytest.param(broker_planner, "patience_ends", id="deletion"),
    pytest.param(broker_status, "_reachable", id="reachability"),
    pytest.param(broker_status, "_in_sync", id="sync"),
    pytest.param(broker_status, "_braked", id="brake"),
    pytest.param(broker_exposure, "is_shown", id="exposure"),
]


@pytest.mark.faulty
@pytest.mark.parametrize(("module", "name"), BROKER_PARTS)
def test_fault_in_one_part_of_a_broker_does_not_block_its_network_policy(
    module: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = settled(market(broker(workload=WORKLOAD)))
    give_credentials(cluster, CHECKOUT, FULFILMENT)
    sync_broker(cluster)
    cluster.visit(broker_key(MAIN))
    monkeypatch.setattr(module, name, surprising)
    plan = cluster.plan(broker_key(MAIN))
    assert [type(each) for each in plan.steps] == [Apply]
    assert ready(plan) == ("False", "InternalError")


def ready(plan: Plan) -> tuple[str, str]:
    assert plan.status is not None
    found = next(each for each in plan.status["conditions"] if each["type"] == "Ready")
    return found["status"], found["reason"]
