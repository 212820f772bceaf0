"""An exception in Troth becomes a condition, and revoked access still closes."""

import base64
import copy
import gzip
import json
from typing import Any

import pytest

from tests.builders import HOUR, NOW, OWN, accept, call, domain, identity, namespace
from tests.reconcile.serving import Server, running
from troth.planning import planner, verdicts
from troth.planning.identity import claims, edge_status, gateway_only, restarts, tokens, unverified
from troth.planning.identity import network as identity_network
from troth.planning.identity import view as identity_view
from troth.planning.identity.credentials import at_brokers, webhook_signing
from troth.planning.identity.messages import schema_files
from troth.planning.identity.secret import planner as secret
from troth.planning.network import compiler as network
from troth.planning.trust_domain.issuer import callers as issuer_callers
from troth.reconcile.loop import engine
from troth.resources.references import Ref
from troth.trust.edges import evaluation
from troth.world.keys import ISSUER_VIEW, Key, domain_key, identity_key, view_key

PAYMENTS, WEB = Ref("shop", "payments"), Ref("shop", "web")
SECRET = "Secret", Ref("shop", "payments-identity")
POLICY = "NetworkPolicy", Ref("shop", "payments-troth")
EGRESS = "NetworkPolicy", Ref("shop", "web-troth")
IDENTITY = "ServiceIdentity", PAYMENTS
TOKENS = "Secret", Ref(OWN, "production-tokens")
SECRETIVE = "tls.key is hunter2"
BOTH = [accept("web"), accept("batch")]


class Surprise(Exception):  # noqa: N818 - an exception of no known type
    """Exception that no code raises on purpose."""


def surprising(*_: Any, **__: Any) -> Any:
    raise Surprise(SECRETIVE)


def shop(**spec: Any) -> Server:
    return Server(
        [
            namespace("shop", domain="production"),
            domain(tokens={}),
            identity("payments", ports=["https"], accepts=BOTH, **spec),
            identity("web", calls=[call("payments")]),
            identity("batch", calls=[call("payments")]),
            identity("other", ports=["https"]),
        ]
    )


def callers(server: Server) -> set[str]:
    """Return the callers that the callee's policy allows."""
    rules = server.objects[POLICY]["spec"].get("ingress", [])
    return {rule["from"][0]["podSelector"]["matchLabels"]["app"] for rule in rules}


def listed(server: Server) -> set[str]:
    """Return the callers that the callee's document accepts."""
    text = base64.b64decode(server.objects[SECRET]["data"]["identity.json"])
    return {each["spiffeID"].rpartition("/")[2] for each in json.loads(text)["accepts"]}


def assert_reported(server: Server, key: Key) -> None:
    ready = server.condition(key.kind, key.ref, "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "InternalError")
    assert "Surprise" in ready["message"]
    told = json.dumps([server.events, [each.get("status") for each in server.objects.values()]])
    assert SECRETIVE not in told


NARROWER = identity("payments", ports=["https"], accepts=[accept("web")])
LAYERS = [
    pytest.param(secret, "leaf_part", id="certificate"),
    pytest.param(secret, "_dues", id="renewal"),
    pytest.param(schema_files, "_placed", id="schema files"),
    pytest.param(at_brokers, "credential_states", id="brokers"),
    pytest.param(identity_network, "compile_policy", id="network"),
    pytest.param(webhook_signing, "removal", id="signing"),
    pytest.param(restarts, "plan_rollout", id="restarts"),
    pytest.param(tokens, "_left_out", id="tokens"),
    pytest.param(gateway_only, "record_steps", id="gateway"),
    pytest.param(unverified, "peers_verified", id="unverified"),
    pytest.param(claims, "accepted_claims", id="claims"),
    pytest.param(edge_status, "peers_agree", id="peers"),
    pytest.param(edge_status, "edge_statuses", id="edges"),
    pytest.param(verdicts, "conditions", id="status"),
    pytest.param(identity_view, "trusted_anchors", id="anchors"),
    pytest.param(identity_view, "gather_reach", id="reach"),
    pytest.param(identity_view, "_topics", id="topics"),
    pytest.param(identity_view, "trust_turns", id="turns"),
    pytest.param(identity_view, "_reissue_wait", id="wait"),
    pytest.param(identity_view, "gather_credentials", id="credentials"),
    pytest.param(identity_view, "_workloads", id="workloads"),
    pytest.param(identity_view, "_schema_texts", id="schemas"),
    pytest.param(identity_view, "_gateways", id="gateways"),
    pytest.param(identity_view, "_targets", id="targets"),
]


@pytest.mark.faulty
@pytest.mark.parametrize(("module", "name"), LAYERS)
async def test_fault_in_one_layer_does_not_block_narrowing_in_others(
    module: Any,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    server = shop()
    async with running(server) as it:
        await it.settle()
        assert callers(server) == listed(server) == {"web", "batch"}
        with monkeypatch.context() as patched:
            patched.setattr(module, name, surprising)
            await it.put(NARROWER)
            assert_reported(server, identity_key(PAYMENTS))
            assert callers(server) == listed(server) == {"web"}
            assert it.engine.faults.count()["ServiceIdentity"] >= 1
        assert SECRETIVE not in capsys.readouterr().out
        it.engine.queue.add(map(identity_key, it.engine.world.registry.identities))
        await it.settle()
        assert server.condition(*IDENTITY, "Ready")["status"] == "True"
        assert it.engine.faults.count() == {}


@pytest.mark.faulty
async def test_document_that_cannot_be_planned_closes_its_edges(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = shop()
    async with running(server) as it:
        await it.settle()
        with monkeypatch.context() as patched:
            patched.setattr(secret, "leaf_part", surprising)
            patched.setattr(secret, "document_alone", surprising)
            it.engine.queue.add([identity_key(PAYMENTS)])
            await it.settle()
            assert callers(server) == set()
            assert "payments" not in json.dumps(server.objects[EGRESS]["spec"]["egress"])
        it.engine.queue.add([identity_key(PAYMENTS)])
        await it.settle()
        assert callers(server) == {"web", "batch"}


@pytest.mark.faulty
async def test_peer_that_cannot_be_compiled_is_closed_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = shop()
    real = network._peer_rules

    def compiled(situation: Any, current: Any, side: Any, peer: Ref, group: Any) -> Any:
        if peer.name == "batch":
            return surprising()
        return real(situation, current, side, peer, group)

    async with running(server) as it:
        await it.settle()
        monkeypatch.setattr(network, "_peer_rules", compiled)
        it.engine.queue.add([identity_key(PAYMENTS)])
        await it.settle()
        assert_reported(server, identity_key(PAYMENTS))
        assert callers(server) == {"web"}


@pytest.mark.faulty
async def test_policy_that_cannot_be_compiled_denies_everything(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = shop()
    async with running(server) as it:
        await it.settle()
        for name in ("compile_policy", "closing_policy"):
            monkeypatch.setattr(identity_network, name, surprising)
        await it.put(NARROWER)
        spec = server.objects[POLICY]["spec"]
        assert (spec.get("ingress"), spec.get("egress")) == (None, None)
        assert spec["policyTypes"] == ["Ingress", "Egress"]


@pytest.mark.faulty
async def test_edge_that_cannot_be_judged_is_closed_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def judged(question: Any) -> Any:
        return surprising() if question.caller.name == "batch" else None

    server = shop()
    async with running(server) as it:
        await it.settle()
        monkeypatch.setattr(evaluation, "CHECKS", (judged, *evaluation.CHECKS))
        it.engine.queue.add([identity_key(PAYMENTS)])
        await it.settle()
        assert callers(server) == listed(server) == {"web"}
        assert_reported(server, identity_key(PAYMENTS))


@pytest.mark.faulty
@pytest.mark.parametrize("key", [identity_key(PAYMENTS), domain_key("production")], ids=str)
async def test_unplannable_resource_reports_it_and_others_continue(
    key: Key, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = shop()
    async with running(server) as it:
        await it.settle()
        real = planner.PLANNERS[key.kind]

        def planned(each: Key, *rest: Any) -> Any:
            return surprising() if each == key else real(each, *rest)

        with monkeypatch.context() as patched:
            patched.setitem(planner.PLANNERS, key.kind, planned)
            it.engine.queue.add([key])
            await it.put(identity("late"))
            assert_reported(server, key)
            assert server.condition("ServiceIdentity", Ref("shop", "late"), "Ready")["status"] == (
                "True"
            )
            server.log.clear()
            it.engine.queue.add([key])
            await it.settle()
            assert server.log == [], "it is said once"
        it.engine.queue.add([key])
        await it.settle()
        assert server.condition(key.kind, key.ref, "Ready")["status"] == "True"


@pytest.mark.faulty
async def test_caller_that_cannot_be_judged_is_left_out_of_the_issuer_view(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = shop(authentication={"token": {}})
    real = issuer_callers._grant_all

    def granted(caller: Any, registry: Any, ref: Ref, now: Any) -> Any:
        return surprising() if ref == WEB else real(caller, registry, ref, now)

    async with running(server) as it:
        await it.settle()
        await it.clock.move_to(NOW + HOUR)
        monkeypatch.setattr(issuer_callers, "_grant_all", granted)
        it.engine.world.tokens.entries.clear()
        it.engine.queue.add([view_key("production")])
        await it.settle()
        view = gzip.decompress(base64.b64decode(server.objects[TOKENS]["data"]["view.json.gz"]))
        found = {name.rpartition("/")[2] for name in json.loads(view)["callers"]}
        assert "web" not in found
        assert "batch" in found
        assert_reported(server, domain_key("production"))
        assert it.engine.faults.count()[ISSUER_VIEW] == 1


@pytest.mark.faulty
async def test_exception_after_planning_becomes_a_condition(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = shop()
    async with running(server) as it:
        await it.settle()
        monkeypatch.setattr(it.engine.applied, "remember", surprising)
        await it.put(NARROWER)
        assert_reported(server, identity_key(PAYMENTS))
        assert callers(server) == listed(server) == {"web"}


@pytest.mark.faulty
async def test_exception_while_another_is_reported_does_not_stop_other_resources(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server, late = shop(), Ref("shop", "late")
    async with running(server) as it:
        await it.settle()
        real = it.engine.applied.remember

        def remember(plan: Any) -> None:
            if plan.key == identity_key(PAYMENTS):
                surprising()
            real(plan)

        monkeypatch.setattr(it.engine.applied, "remember", remember)
        monkeypatch.setattr(engine, "plan_after_failure", surprising)
        await it.put(NARROWER)
        await it.put(identity("late"))
        assert server.condition("ServiceIdentity", late, "Ready")["status"] == "True"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("[" * 4096, id="open arrays"),
        pytest.param('{"accepts":' * 4096, id="open objects"),
        pytest.param("[" * 100_000 + "]" * 100_000, id="a hundred thousand levels"),
        pytest.param("9" * 5000, id="a number"),
        pytest.param('{"spiffeID": 1e999}', id="infinity"),
    ],
)
@pytest.mark.parametrize("without_authority", [True, False])
async def test_corrupted_document_is_restored(text: str, *, without_authority: bool) -> None:
    server = shop()
    async with running(server) as it:
        await it.settle()
        if without_authority:
            await it.drop("Secret", Ref(OWN, "production-authority"))
        spoilt = copy.deepcopy(server.objects[SECRET])
        spoilt["data"]["identity.json"] = base64.b64encode(text.encode()).decode()
        await it.put(spoilt)
        assert listed(server) == {"web", "batch"}
        await it.put(NARROWER)
        assert callers(server) == listed(server) == {"web"}
