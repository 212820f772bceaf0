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
from tests.builders import OWN, domain, namespace
from tests.messaging import broker
from tests.planning.network.test_broker_policy import WORKLOAD
from tests.reconcile.serving import Server, running
from tests.reconcile.test_faults import TOKENS, assert_reported, surprising
from tests.webhook_builders import ONE, TWO, issued, keys, leading
from tests.webhook_scene import PROPAGATION, scene
from troth.planning.brokers import exposure as broker_exposure
from troth.planning.brokers import planner as broker_planner
from troth.planning.brokers import status as broker_status
from troth.planning.grants import edges_validated, exclusive, message_schemas, topic_policy
from troth.planning.plan import Plan
from troth.planning.steps.objects import Apply, SetFinalizers
from troth.planning.trust_domain import (
    authority,
    bundles,
    isolation,
    tokens,
    watched_namespaces,
)
from troth.planning.trust_domain.issuer import certificate
from troth.planning.webhooks import gateway as webhook_gateway
from troth.planning.webhooks import judged as webhook_judged
from troth.planning.webhooks import sender_keys as webhook_sender_keys
from troth.planning.webhooks import status as webhook_status
from troth.planning.webhooks import target as webhook_target
from troth.resources.references import Ref
from troth.trust.declarations.watched import Watched
from troth.world.facts.objects import ISOLATION_POLICY
from troth.world.keys import broker_key, domain_key, policy_key, webhook_key

ENDPOINT, COMPILED = Ref("shop", "stripe-charges"), Ref("troth-gateway", "shop.stripe-charges")
DOMAIN = "TrustDomain", Ref("", "production")
AUTHORITY = "Secret", Ref(OWN, "production-authority")
BUNDLE = "ConfigMap", Ref("shop", "trust-bundle")
ISOLATED = "NetworkPolicy", Ref("shop", ISOLATION_POLICY)
LEAF = "Secret", Ref(OWN, "production-issuer")
ISOLATING = domain(tokens={}, isolation="Namespace")
DOMAIN_PARTS = [
    pytest.param(authority, "_begun", None, id="authority"),
    pytest.param(authority, "tidy_roots", None, id="root"),
    pytest.param(bundles, "bundle_files", BUNDLE, id="bundles"),
    pytest.param(isolation, "_exceptions", ISOLATED, id="isolation"),
    pytest.param(tokens, "_own_steps", None, id="tokens"),
    pytest.param(certificate, "why_issue", LEAF, id="certificate"),
    pytest.param(watched_namespaces, "_verdict", None, id="watched"),
]
"""Functions of the parts of a trust domain, each with the object that its part writes again."""


@pytest.mark.faulty
@pytest.mark.parametrize(("module", "name", "unwritten"), DOMAIN_PARTS)
async def test_fault_in_one_part_of_a_trust_domain_stops_no_other(
    module: Any, name: str, unwritten: tuple[str, Ref] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server([namespace("shop", domain="production"), ISOLATING])
    async with running(server, watched=Watched.of(OWN, ["shop"])) as it:
        await it.settle()
        before = server.objects[DOMAIN]["status"]
        with monkeypatch.context() as patched:
            patched.setattr(module, name, surprising)
            for place in (BUNDLE, ISOLATED, LEAF):
                await it.drop(*place)
            missing = {each for each in (BUNDLE, ISOLATED, LEAF) if each not in server.objects}
            assert missing == ({unwritten} if unwritten else set())
            assert_reported(server, domain_key("production"))
            after = server.objects[DOMAIN]["status"]
            assert {**after, "conditions": ()} == {**before, "conditions": ()}
        it.engine.queue.add([domain_key("production")])
        await it.settle()
        assert server.condition(*DOMAIN, "Ready")["status"] == "True"


@pytest.mark.faulty
async def test_authority_that_cannot_be_judged_is_not_created(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(authority, "_there_was_another", surprising)
    server = Server([namespace("shop", domain="production"), ISOLATING])
    async with running(server) as it:
        await it.settle()
        assert AUTHORITY not in server.objects
        assert {TOKENS, ISOLATED} <= server.objects.keys()
        assert_reported(server, domain_key("production"))


@pytest.mark.faulty
async def test_new_domain_whose_isolation_cannot_be_planned_isolates_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = Server([namespace("shop", domain="production"), domain(isolation=None)])
    async with running(server) as it:
        with monkeypatch.context() as patched:
            patched.setattr(isolation, "_exceptions", surprising)
            await it.settle()
            assert AUTHORITY in server.objects
            assert ISOLATED not in server.objects
        it.engine.queue.add([domain_key("production")])
        await it.settle()
        assert ISOLATED in server.objects


WEBHOOK_PARTS = [
    pytest.param(webhook_sender_keys, "rechecks", id="keys"),
    pytest.param(webhook_judged, "plan_secret", id="rotation"),
    pytest.param(webhook_gateway, "_compilation", id="gateway"),
    pytest.param(webhook_target, "_verdict", id="target"),
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
