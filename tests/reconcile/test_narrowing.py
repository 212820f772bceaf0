"""Revoked access is closed at every layer, even if one of them cannot be written."""

import asyncio
import base64
import copy
import gzip
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from tests.builders import NOW, OWN, Manifest, accept, call, domain, identity, namespace
from tests.patience import PATIENCE
from tests.reconcile.serving import LeaderFence, Running, Server, converge, running
from troth.cluster.errors import ApiError
from troth.planning.steps.certificates import IssueLeaf
from troth.reconcile.apply.execute import STEP_HANDLERS
from troth.reconcile.status import rejected_writes as refusals
from troth.resources.references import Ref
from troth.world.keys import identity_key

PAYMENTS, WEB = Ref("shop", "payments"), Ref("shop", "web")
SECRET = "Secret", Ref("shop", "payments-identity")
POLICY = "NetworkPolicy", Ref("shop", "payments-troth")
EGRESS = "NetworkPolicy", Ref("shop", "web-troth")
TOKENS = "Secret", Ref(OWN, "production-tokens")
IMMUTABLE = ApiError(
    422,
    "Invalid",
    'Secret "payments-identity" is invalid: data: Forbidden: field is immutable when `immutable` '
    "is set",
)
WIDE: dict[str, Any] = {
    "ports": ["https", ("admin", 9443)],
    "accepts": [
        accept("web", "https", "admin", scopes=["read", "write"], forwards=["ClientCertificate"])
    ],
}
CALLS = [call("payments", "https", "admin", scopes=["read", "write"]), call("other")]


def payments(**changes: Any) -> Manifest:
    return identity("payments", **(WIDE | changes))


def accepting(*ports: str, **changes: Any) -> Manifest:
    entry = {"scopes": ["read", "write"], "forwards": ["ClientCertificate"]} | changes
    return payments(accepts=[accept("web", *(ports or ("https", "admin")), **entry)])


NARROWER = [
    pytest.param(accepting(scopes=["read"]), id="scope"),
    pytest.param(accepting(forwards=[]), id="forwards"),
    pytest.param(accepting("https"), id="port"),
    pytest.param(payments(requires={"context": ["Tenant"]}), id="context"),
    pytest.param(payments(authentication={"token": {}}), id="token"),
]


def shop(**changes: Any) -> Server:
    return Server(
        [
            namespace("shop", domain="production"),
            domain(tokens={}),
            payments(**changes),
            identity("web", calls=CALLS),
            identity("other", ports=["https"], accepts=[accept("web")]),
        ]
    )


def immutable(server: Server, *places: tuple[str, Ref], error: ApiError = IMMUTABLE) -> None:
    server.refuses = lambda place: error if place in places else None


def allowed(server: Server, place: tuple[str, Ref], side: str) -> set[int]:
    """Return the ports that a policy opens, except the resolver's and the issuer's."""
    rules = server.objects[place]["spec"].get(side, [])
    return {port["port"] for rule in rules for port in rule["ports"]} & {8443, 9443}


def text(server: Server, place: tuple[str, Ref]) -> str:
    return base64.b64decode(server.objects[place]["data"]["identity.json"]).decode()


def edge(server: Server, of: Ref, peer: Ref) -> Manifest:
    edges = server.objects["ServiceIdentity", of]["status"]["edges"]
    found: Manifest = next(
        each for each in edges if each["peer"] == str(peer) and "https" in each["ports"]
    )
    return found


def audiences(server: Server) -> dict[str, Any]:
    """Return the audiences for which the issuer issues tokens to the caller."""
    packed = base64.b64decode(server.objects[TOKENS]["data"]["view.json.gz"])
    callers = json.loads(gzip.decompress(packed))["callers"]
    found: dict[str, Any] = callers["spiffe://production.example/ns/shop/sa/web"]["audiences"]
    return found


async def until(holds: Callable[[], bool]) -> None:
    """Wait for a retry after the engine's own backoff."""
    async with asyncio.timeout(PATIENCE):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def healed(it: Running) -> None:
    """Accept writes again and wait until the refused ones are done."""
    it.server.refuses = lambda _: None
    it.engine.queue.add([identity_key(PAYMENTS)])
    await it.settle()


def assert_closed(server: Server) -> None:
    for of, peer in ((PAYMENTS, WEB), (WEB, PAYMENTS)):
        told = edge(server, of, peer)
        assert (told["state"], told["reason"]) == ("Refused", "CalleeNotNarrowed")
    assert not any("web" in json.dumps(rule) for rule in rules(server, POLICY, "ingress"))
    assert not any("payments" in json.dumps(rule) for rule in rules(server, EGRESS, "egress"))
    assert "shop/payments" not in text(server, ("Secret", Ref("shop", "web-identity")))


def rules(server: Server, place: tuple[str, Ref], side: str) -> list[Manifest]:
    found: list[Manifest] = server.objects[place]["spec"].get(side, [])
    return found


@pytest.mark.parametrize("narrower", NARROWER)
async def test_edge_is_closed_at_every_layer_if_its_document_is_not_narrowed(
    narrower: Manifest,
) -> None:
    server = shop()
    async with running(server) as it:
        await it.settle()
        assert rules(server, POLICY, "ingress")
        immutable(server, SECRET)
        await it.put(narrower)
        assert_closed(server)
        ready = server.condition("ServiceIdentity", PAYMENTS, "Ready")
        assert (ready["status"], ready["reason"]) == ("False", "WriteRefused")
        assert "Secret shop/payments-identity" in ready["message"]
        assert "it is immutable; replace it" in ready["message"]
        generation = server.objects["ServiceIdentity", PAYMENTS]["metadata"]["generation"]
        assert server.objects["ServiceIdentity", PAYMENTS]["status"]["observedGeneration"] == (
            generation
        )
        assert rules(server, ("NetworkPolicy", Ref("shop", "other-troth")), "ingress"), (
            "another callee of the same caller stays open"
        )
        assert it.engine.refusals.count()["Secret"] == 1

        await healed(it)
        assert edge(server, WEB, PAYMENTS)["state"] == "Live"
        assert rules(server, POLICY, "ingress")
        assert server.condition("ServiceIdentity", PAYMENTS, "Ready")["status"] == "True"
        assert it.engine.refusals.count() == {}
        assert not it.engine.world.registry.unapplied


async def test_issuer_issues_no_token_for_a_callee_that_cannot_be_narrowed() -> None:
    token: dict[str, Any] = {"authentication": {"token": {}}}
    narrower = accepting(scopes=["read"])
    narrower["spec"] |= token
    server = shop(**token)
    async with running(server, due=True) as it:
        await it.settle()
        assert audiences(server)
        immutable(server, SECRET)
        await it.put(narrower)
        await it.live(timedelta(seconds=2))
        assert not audiences(server)
        await healed(it)
        await it.live(timedelta(seconds=2))
        (granted,) = audiences(server).values()
        assert granted["scopes"] == ["read"]


async def test_nothing_opens_while_a_narrowing_is_pending() -> None:
    """Not even before the first refusal: another port number is a new opening."""
    server = shop(accepts=[accept("web", scopes=["read", "write"])])
    seen: list[set[int]] = []

    def refuse(place: tuple[str, Ref]) -> ApiError | None:
        seen.append(allowed(server, POLICY, "ingress"))
        return IMMUTABLE if place == SECRET else None

    async with running(server) as it:
        await it.settle()
        server.refuses = refuse
        ports = ["https", ("admin", 9444)]
        narrower = payments(accepts=[accept("web", scopes=["read"])], ports=ports)
        narrower["spec"]["workload"]["ports"][0]["port"] = 9443
        await it.put(narrower)
        assert_closed(server)
        assert set().union(*seen) == {8443}
        await healed(it)
        assert allowed(server, POLICY, "ingress") == {9443}


@pytest.mark.parametrize("narrower", NARROWER)
async def test_after_a_restart_nothing_opens_and_nothing_is_written(narrower: Manifest) -> None:
    server = shop()
    async with running(server) as it:
        await it.settle()
        immutable(server, SECRET)
        await it.put(narrower)
    server.log.clear()
    await converge(server)
    assert server.log == []
    assert_closed(server)
    server.refuses = lambda _: None
    await converge(server)
    assert edge(server, WEB, PAYMENTS)["state"] == "Live"


async def test_new_leader_opens_nothing_before_its_first_attempt() -> None:
    server = shop()
    leader_fence = LeaderFence(remaining=0)
    async with running(server, leader_fence=leader_fence) as standby:
        async with running(server) as it:
            await it.settle()
            immutable(server, SECRET)
            await it.put(accepting(scopes=["read"]))
        for each in list(server.objects.values()):
            standby.engine.observe(copy.deepcopy(each))
        server.log.clear()
        leader_fence.remaining = 3600
        await standby.settle()
    assert server.log == []
    assert_closed(server)


async def test_new_leader_does_not_close_what_was_narrowed_meanwhile() -> None:
    server = shop()
    leader_fence = LeaderFence(remaining=0)

    def show(standby: Running) -> None:
        for each in list(server.objects.values()):
            standby.engine.observe(copy.deepcopy(each))

    async with running(server, leader_fence=leader_fence) as standby:
        async with running(server) as it:
            await it.settle()
            immutable(server, SECRET)
            await it.put(payments(requires={"context": ["Tenant"]}))
            show(standby)
            assert standby.engine.world.registry.unapplied
            await healed(it)
        show(standby)
        assert not standby.engine.world.registry.unapplied
        server.log.clear()
        leader_fence.remaining = 3600
        await standby.settle()
    assert server.log == []


async def test_restored_scope_opens_the_edge_again() -> None:
    server = shop()
    async with running(server) as it:
        await it.settle()
        immutable(server, SECRET)
        await it.put(accepting(scopes=["read"]))
        assert_closed(server)
        await it.put(payments())
        assert edge(server, WEB, PAYMENTS)["state"] == "Live"
        assert edge(server, PAYMENTS, WEB)["state"] == "Live"


async def test_short_api_server_overload_closes_nothing() -> None:
    server = shop()
    async with running(server) as it:
        await it.settle()
        immutable(server, SECRET, error=ApiError(503, "ServiceUnavailable", "busy"))
        await it.put(accepting(scopes=["read"]))
        assert edge(server, WEB, PAYMENTS)["state"] == "Live"
        await it.clock.move_to(NOW + timedelta(seconds=refusals.LASTING))
        it.engine.queue.add([identity_key(PAYMENTS)])
        await it.settle()
        assert_closed(server)
        await healed(it)
        assert edge(server, WEB, PAYMENTS)["state"] == "Live"


async def test_lasting_conflict_is_reported_and_closes_the_edge() -> None:
    server = shop()
    async with running(server) as it:
        await it.settle()
        immutable(server, SECRET, error=ApiError(409, "Conflict", "changed"))
        await it.put(accepting(scopes=["read"]))
        assert edge(server, WEB, PAYMENTS)["state"] == "Live", "a conflict usually passes"
        await it.clock.move_to(NOW + timedelta(seconds=refusals.LASTING))
        it.engine.queue.add([identity_key(PAYMENTS)])
        await it.settle()
        assert_closed(server)
        ready = server.condition("ServiceIdentity", PAYMENTS, "Ready")
        assert (ready["status"], ready["reason"]) == ("False", "WriteRefused")
        assert "met a conflict" in ready["message"]


@pytest.mark.parametrize("status", [409, 422])
async def test_removed_peer_is_closed_while_no_document_can_be_written(
    status: int,
) -> None:
    server = shop()
    async with running(server) as it:
        await it.settle()
        both = SECRET, ("Secret", Ref("shop", "web-identity"))
        immutable(server, *both, error=ApiError(status, "Refused", "not now"))
        await it.put(identity("payments", ports=["https"]))
        assert not rules(server, POLICY, "ingress")
        assert not any("payments" in json.dumps(each) for each in rules(server, EGRESS, "egress"))


async def test_document_drops_a_peer_while_no_policy_can_be_written() -> None:
    server = shop()
    async with running(server) as it:
        await it.settle()
        immutable(server, POLICY, error=ApiError(422, "Invalid", "denied"))
        await it.put(identity("payments", ports=["https"]))
        assert "sa/web" not in text(server, SECRET)
        assert not any("payments" in json.dumps(each) for each in rules(server, EGRESS, "egress"))
        told = server.condition("ServiceIdentity", PAYMENTS, "Ready")
        assert (told["status"], told["reason"]) == ("False", "WriteRefused")


async def test_ordinary_narrowing_costs_one_write_of_its_document() -> None:
    server = shop()
    async with running(server) as it:
        await it.settle()
        server.log.clear()
        await it.put(accepting(scopes=["read"]))
        assert server.log.count(SECRET) == 1
        assert {kind for kind, _ in server.log} == {"Secret", "ServiceIdentity"}
        assert server.log.count(("ServiceIdentity", WEB)) == 0
        assert "write" not in text(server, SECRET)


async def test_failed_certificate_issue_does_not_keep_a_scope(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def fail(*_: object) -> Any:
        raise KeyError("tls.key")

    server = shop()
    async with running(server) as it:
        await it.settle()
        with monkeypatch.context() as patched:
            handlers: dict[Any, Any] = STEP_HANDLERS
            patched.setitem(handlers, IssueLeaf, fail)
            changed = accepting(scopes=["read"])
            changed["spec"]["authentication"] = {"mtls": {"keyAlgorithm": "ECDSA-P384"}}
            await it.put(changed)
            await until(lambda: "write" not in text(server, SECRET))
            told = server.condition("ServiceIdentity", PAYMENTS, "Ready")
            assert told["status"] == "False"
            assert "KeyError" in told["message"]
            assert "tls.key" not in told["message"]
        await until(
            lambda: server.condition("ServiceIdentity", PAYMENTS, "Ready")["status"] == "True"
        )
        await until(lambda: edge(server, WEB, PAYMENTS)["state"] == "Live")
