"""The engine converges and then writes nothing; it restores drift and changes no foreign object."""

import asyncio
import copy
import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings

from tests import builders
from tests.builders import (
    HOUR,
    NOW,
    OWN,
    Manifest,
    accept,
    call,
    domain,
    identity,
    namespace,
    rotation,
    secret,
    stamp,
)
from tests.patience import PATIENCE
from tests.reconcile.serving import Crashed, LeaderFence, Server, converge, running
from tests.strategies import clusters
from troth.cluster.errors import ApiError
from troth.documents.event_bundles import FILE as EVENTS_BUNDLE_MAP
from troth.reconcile.runtime.instrumentation import Instrumentation
from troth.reconcile.status.stall_delay import DELAY
from troth.resources.references import Ref
from troth.world.keys import view_key

SHOP = [namespace("shop", domain="production"), domain()]
PAYMENTS = identity("payments", ports=["https"], accepts=[accept("checkout")])
CHECKOUT = identity("checkout", calls=[call("payments")])
POLICY = "NetworkPolicy", Ref("shop", "payments-troth")
TOKENS = "Secret", Ref(OWN, "production-tokens")
SECRET = "Secret", Ref("shop", "payments-identity")
BUNDLE = "ConfigMap", Ref("shop", "trust-bundle")
SID = Ref("shop", "payments")


def shop(*more: Manifest) -> Server:
    return Server([*SHOP, PAYMENTS, CHECKOUT, *more])


# Convergence


@settings(max_examples=30)
@given(clusters())
@pytest.mark.long
def test_any_cluster_converges_and_then_nothing_is_written(manifests: list[Manifest]) -> None:
    async def story() -> None:
        server = Server(manifests)
        await converge(server)
        server.log.clear()
        server.events.clear()
        await converge(server)
        assert server.log == []
        assert server.events == []

    asyncio.run(story())


@pytest.mark.parametrize("changed", ["payments", "checkout"])
async def test_objects_of_a_changed_identity_are_written_before_those_of_its_peers(
    changed: str,
) -> None:
    server = shop()
    async with running(server) as it:
        await it.settle()
        server.log.clear()
        await it.put(identity(changed, ports=["https"] if changed == "payments" else []))
        assert server.log[0] == ("Secret", Ref("shop", f"{changed}-identity"))


async def test_new_identity_costs_three_writes() -> None:
    server = Server([*SHOP, PAYMENTS])
    await converge(server)
    async with running(server) as it:
        await it.settle()
        server.log.clear()
        await it.put(identity("new", account="new"))
        assert sorted(kind for kind, _ in server.log) == [
            "NetworkPolicy",
            "Secret",
            "ServiceIdentity",
        ]


async def test_other_tasks_run_between_visits_that_write_nothing() -> None:
    server = Server([*SHOP, *(identity(f"service-{number}") for number in range(30))])
    await converge(server)
    async with running(server) as it:  # as after a restart, everything is queued
        turns = 0
        while len(it.engine.queue):
            await asyncio.sleep(0)
            turns += 1
        await it.settle()
    assert turns >= 30


async def test_change_of_a_peer_never_reissues() -> None:
    server = shop()
    await converge(server)
    before = server.objects[SECRET]["data"]["tls.crt"]
    async with running(server) as it:
        await it.put(identity("payments", ports=["https"]))
        await it.put(PAYMENTS)
    assert server.objects[SECRET]["data"]["tls.crt"] == before


async def test_leaves_are_renewed_when_due() -> None:
    server = shop()
    async with running(server, due=True) as it:
        await it.settle()
        before = copy.deepcopy(server.objects[SECRET]["data"])
        await it.clock.move_to(NOW + timedelta(hours=17))
        await asyncio.sleep(0.05)
        await it.settle()
    after = server.objects[SECRET]["data"]
    assert before["tls.key"] != after["tls.key"]
    assert before["ca.crt"] == after["ca.crt"]
    assert "Reissued" in server.reasons()


# Crashes


def comparable(server: Server) -> dict[Any, Any]:
    """Return everything stored except random values: keys, signed data and versions."""
    random = {"tls.key", "tls.crt", "plain.crt", "ca.crt", "keystore.p12", "truststore.p12"}
    random |= {"keystore-password", "fingerprint", "serial", "authority", "resourceVersion"}
    random |= {"troth.dev/keystore-digest", "bundle.json", "bundle-map.json", "current.key"}
    random |= {EVENTS_BUNDLE_MAP}

    def without(value: Any) -> Any:
        match value:
            case dict():
                return {
                    key: "random" if key in random else without(each) for key, each in value.items()
                }
            case list():
                return [without(each) for each in value]
            case _:
                return value

    return {place: without(each) for place, each in server.objects.items()}


def crowded() -> list[Manifest]:
    """Return declarations that use every feature, before the first run."""
    keystore = {"mtls": {"keystores": ["PKCS12"]}}
    return [
        SHOP[0],
        domain(tokens={}),
        namespace("finance", domain="production"),
        PAYMENTS,
        identity(
            "checkout",
            calls=[
                call("payments"),
                call("ledger", namespace="finance"),
                call("vault", scopes=["open"]),
            ],
        ),
        identity(
            "vault",
            ports=["https"],
            accepts=[accept("checkout", scopes=["open"])],
            authentication={"token": {}},
        ),
        identity(
            "ledger",
            "finance",
            ports=["https"],
            accepts=[accept("checkout", namespace="shop")],
            authentication=keystore,
        ),
        identity("watched", enforcement="Observe"),
    ]


async def test_crash_at_any_write_converges_to_the_undisturbed_state() -> None:
    undisturbed = Server(crowded())
    await converge(undisturbed)
    count = len(undisturbed.log)
    assert count > 12
    for crash_after in range(1, count + 1):
        server = Server(crowded(), crash_after)
        with pytest.raises(Crashed):
            await converge(server)
        issued = {
            (place, name): each["data"][name]
            for place, each in server.objects.items()
            for name in ("tls.crt", "current.key")
            if place[0] == "Secret" and name in each["data"]
        }
        await converge(server)
        assert comparable(server) == comparable(undisturbed), f"after write {crash_after}"
        for (place, name), made in issued.items():
            assert server.objects[place]["data"][name] == made, "nothing is made anew"
        assert len(server.log) <= count + 4


# Foreign objects


def foreign(kind: str, ref: Ref) -> Manifest:
    match kind:
        case "Secret":
            return secret(ref.name, ref.namespace, tls_crt=b"another's")
        case "ConfigMap":
            content: Manifest = {"data": {"ca.crt": "another's"}}
        case _:
            content = {"spec": {"podSelector": {}, "policyTypes": ["Ingress"]}}
    return {"kind": kind, "metadata": {"name": ref.name, "namespace": ref.namespace}, **content}


@pytest.mark.parametrize(
    ("place", "owner", "type_"),
    [
        (SECRET, ("ServiceIdentity", SID), "CertificateIssued"),
        (POLICY, ("ServiceIdentity", SID), "NetworkEnforced"),
        (BUNDLE, ("TrustDomain", Ref("", "production")), "BundleDistributed"),
        (
            ("Secret", Ref(OWN, "production-authority")),
            ("TrustDomain", Ref("", "production")),
            "AuthorityReady",
        ),
    ],
    ids=["secret", "policy", "bundle", "authority"],
)
@pytest.mark.parametrize("seen", [True, False], ids=["seen", "unseen"])
async def test_foreign_object_is_never_overwritten(
    place: tuple[str, Ref], owner: tuple[str, Ref], type_: str, *, seen: bool
) -> None:
    """Both if the informer shows it and if only a refused write reveals it."""
    server = shop(foreign(*place))
    before = copy.deepcopy(server.objects[place])
    if not seen:
        known = server.objects.pop(place)
    async with running(server, due=True) as it:
        if not seen:
            server.objects[place] = known
        await it.settle()
        await it.live(timedelta(seconds=DELAY))
    assert server.objects[place] == before
    assert server.condition(*owner, type_)["reason"] == "Conflict"
    assert server.condition(*owner, "Stalled")["status"] == "True"


async def test_deletion_of_a_foreign_object_is_noticed_within_a_minute() -> None:
    server = shop()
    async with running(server, due=True) as it:
        server.put(foreign(*POLICY))  # the informer's label selector hides it
        await it.settle()
        await it.live(timedelta(seconds=DELAY))
        assert server.condition("ServiceIdentity", SID, "Stalled")["status"] == "True"
        del server.objects[POLICY]
        await it.clock.move_to(NOW + timedelta(minutes=1))
        await asyncio.sleep(0.05)
        await it.settle()
    assert server.condition("ServiceIdentity", SID, "NetworkEnforced")["status"] == "True"


# Drift


@pytest.mark.parametrize("place", [POLICY, BUNDLE], ids=["policy", "bundle"])
async def test_drift_is_restored_with_one_write_and_one_event(
    place: tuple[str, Ref],
) -> None:
    server = shop()
    async with running(server) as it:
        await it.settle()
        before = copy.deepcopy(server.objects[place])
        server.log.clear()
        server.events.clear()
        edited = copy.deepcopy(before)
        if place == POLICY:
            edited["spec"]["ingress"] = [{}]
        else:
            edited["data"]["ca.crt"] = "another's"
        await it.put(edited)
    assert server.log == [place]
    assert server.reasons() == ["Repaired"]
    for part in ("spec", "data"):
        assert server.objects[place].get(part) == before.get(part)


async def test_drift_of_issuer_data_is_restored_with_one_write_and_one_event() -> None:
    server = Server(crowded())
    async with running(server) as it:
        await it.settle()
        await it.clock.move_to(NOW + HOUR)
        for name in ("view.json.gz", "bundle.json"):
            before = copy.deepcopy(server.objects[TOKENS]["data"])
            server.log.clear()
            server.events.clear()
            edited = copy.deepcopy(server.objects[TOKENS])
            edited["data"][name] = "e30="
            await it.put(edited)
            assert server.objects[TOKENS]["data"] == before
            assert server.log == [TOKENS]
            (told,) = server.events
            assert told["reason"] == "Repaired"
            assert told["regarding"]["kind"] == "TrustDomain"
            assert told["regarding"]["uid"]
            assert "troth-system/production-tokens" in told["note"]


async def test_changed_edge_updates_the_issuer_with_one_write_and_no_event() -> None:
    server = Server(crowded())
    async with running(server) as it:
        await it.settle()
        await it.clock.move_to(NOW + HOUR)
        server.log.clear()
        server.events.clear()
        before = server.objects[TOKENS]["data"]["view.json.gz"]
        await it.put(identity("checkout"))
        assert server.log[0] == TOKENS, "before anything else"
        assert server.log.count(TOKENS) == 1
        assert server.objects[TOKENS]["data"]["view.json.gz"] != before
        assert "Repaired" not in server.reasons()


async def test_view_that_cannot_be_written_is_reported_and_heals() -> None:
    server = Server(crowded())
    async with running(server) as it:
        await it.settle()
        await it.clock.move_to(NOW + HOUR)
        server.refuses = lambda place: (
            ApiError(403, "Forbidden", "not here") if place == TOKENS else None
        )
        await it.put(identity("checkout"))
        told = server.condition("TrustDomain", Ref("", "production"), "TokensReady")
        assert (told["status"], told["reason"]) == ("False", "WriteRefused")
        server.refuses = lambda _: None
        it.engine.queue.add([view_key("production")])
        await it.settle()
        told = server.condition("TrustDomain", Ref("", "production"), "TokensReady")
        assert (told["status"], told["reason"]) == ("True", "Active")


async def test_view_that_no_longer_needs_a_write_is_no_refusal() -> None:
    server = Server(crowded())
    (checkout,) = (each for each in crowded() if each["metadata"]["name"] == "checkout")
    async with running(server) as it:
        await it.settle()
        await it.clock.move_to(NOW + HOUR)
        server.refuses = lambda place: (
            ApiError(403, "Forbidden", "not here") if place == TOKENS else None
        )
        await it.put(identity("checkout"))
        await it.put(checkout)
        it.engine.queue.add([view_key("production")])
        await it.settle()
        told = server.condition("TrustDomain", Ref("", "production"), "TokensReady")
        assert (told["status"], told["reason"]) == ("True", "Active")


async def test_issuer_data_is_known_after_a_restart() -> None:
    server = Server(crowded())
    await converge(server)
    async with running(server) as it:
        await it.settle()
        server.events.clear()
        edited = copy.deepcopy(server.objects[TOKENS])
        edited["data"]["view.json.gz"] = edited["data"]["bundle.json"] = "e30="
        await it.put(edited)
        assert server.reasons() == ["Repaired", "Repaired"]


async def test_domain_with_tokens_writes_nothing_after_a_restart() -> None:
    server = Server(crowded())
    await converge(server)
    server.log.clear()
    server.events.clear()
    await converge(server)
    await converge(server, NOW + HOUR)
    assert (server.log, server.events) == ([], [])


async def test_edited_peer_list_is_restored_and_the_key_stays() -> None:
    server = shop()
    async with running(server) as it:
        await it.settle()
        before = copy.deepcopy(server.objects[SECRET]["data"])
        server.log.clear()
        edited = copy.deepcopy(server.objects[SECRET])
        edited["data"]["identity.json"] = "e30="
        await it.put(edited)
    assert server.log == [SECRET]
    assert server.objects[SECRET]["data"] == before


@pytest.mark.parametrize("place", [POLICY, BUNDLE, SECRET], ids=["policy", "bundle", "secret"])
async def test_deleted_owned_object_is_recreated(place: tuple[str, Ref]) -> None:
    server = shop()
    async with running(server) as it:
        await it.settle()
        await it.drop(*place)
    assert place in server.objects


async def test_changed_declaration_is_not_reported_as_a_repair() -> None:
    server = shop()
    async with running(server) as it:
        await it.settle()
        server.events.clear()
        await it.put(identity("payments", ports=[("https", 9443)], accepts=[accept("checkout")]))
        await it.put(identity("payments", enforcement="Observe"))
        await it.put(PAYMENTS)
    assert "Repaired" not in server.reasons()


# Federation


async def test_unconfined_prepared_root_does_not_affect_the_active_one() -> None:
    mutual = [{"name": "production"}]
    abroad = domain("abroad", federatesWith=mutual)
    server = Server([SHOP[0], domain(federatesWith=[{"name": "abroad"}]), abroad])
    async with running(server) as it:
        await it.settle()
        before = server.objects[BUNDLE]["data"]["ca.crt"]
        assert before.count("BEGIN CERTIFICATE") == 2
        unconfined = {"selfManaged": {"confined": False}}
        await it.put(domain("abroad", federatesWith=mutual, authority=unconfined))
        await it.clock.move_to(NOW + HOUR)
        await it.put(rotation("TrustDomain", "abroad", OWN, requestedAt=stamp(NOW + HOUR)))
        assert "next.crt" in server.objects["Secret", Ref(OWN, "abroad-authority")]["data"]
        assert server.objects[BUNDLE]["data"]["ca.crt"] == before


# Refusals


async def test_refused_write_is_reported_and_heals() -> None:
    server = shop()
    server.refuses = lambda place: (
        ApiError(403, "Forbidden", "exceeded quota") if place == POLICY else None
    )
    async with running(server) as it:
        await it.settle()
        told = server.condition("ServiceIdentity", SID, "NetworkEnforced")
        assert (told["status"], told["reason"]) == ("False", "WriteRefused")
        assert "exceeded quota" in told["message"]
        assert SECRET in server.objects, "one layer's trouble is not the other's"
        server.refuses = lambda _: None
        async with asyncio.timeout(PATIENCE):
            while POLICY not in server.objects:  # noqa: ASYNC110 - the retry has its own delay
                await asyncio.sleep(0.02)
        await it.settle()
    assert server.condition("ServiceIdentity", SID, "Ready")["status"] == "True"


@pytest.mark.parametrize("status", [403, 409, 429, 503])
async def test_unwritable_secret_leaves_no_policy_open(status: int) -> None:
    """For a refusal, a lasting conflict, rate limiting, and an overloaded API server."""
    server = shop()
    async with running(server) as it:
        await it.settle()
        server.refuses = lambda place: (
            ApiError(status, "Refused", "not now") if place == SECRET else None
        )
        assert server.objects[POLICY]["spec"]["ingress"]
        await it.put(identity("payments", ports=["https"]))  # accepts no caller
        assert not server.objects[POLICY]["spec"].get("ingress")


async def test_namespace_that_refuses_its_bundle_does_not_affect_others() -> None:
    first = namespace("another", domain="production")
    refused = "ConfigMap", Ref("another", "trust-bundle")
    server = Server([first, *SHOP])
    server.refuses = lambda place: (
        ApiError(403, "Forbidden", "not here") if place == refused else None
    )
    async with running(server) as it:
        await it.settle()
        assert BUNDLE in server.objects
        told = server.condition("TrustDomain", Ref("", "production"), "BundleDistributed")
        assert (told["status"], told["reason"]) == ("False", "WriteRefused")
        assert "another/trust-bundle" in told["message"]


async def test_unavailable_server_is_not_sent_the_remaining_writes() -> None:
    server = Server([namespace(f"shop{number}", domain="production") for number in range(9)])
    asked: list[tuple[str, Ref]] = []

    def refuse(place: tuple[str, Ref]) -> ApiError | None:
        if place[0] != "ConfigMap":
            return None
        asked.append(place)
        return ApiError(503, "ServiceUnavailable", "come back later")

    server.refuses = refuse
    async with running(server) as it:
        await it.put(domain())
        assert len(asked) == 1


async def test_unreachable_server_changes_no_status() -> None:
    server = shop()
    await converge(server)
    async with running(server) as it:
        await it.settle()
        before = copy.deepcopy(server.objects["ServiceIdentity", SID]["status"])
        server.refuses = lambda _: ApiError(0, "ClientError", "cannot be reached")
        await it.put(identity("payments", ports=[("https", 9443)], accepts=[accept("checkout")]))
        assert server.objects["ServiceIdentity", SID]["status"] == before
        server.refuses = lambda _: None
        async with asyncio.timeout(PATIENCE):
            while "9443" not in json.dumps(server.objects[POLICY]["spec"]):  # noqa: ASYNC110
                await asyncio.sleep(0.02)


# Leadership


async def test_nothing_is_written_without_the_leader_fence() -> None:
    server, leader_fence = shop(), LeaderFence(remaining=0)
    async with running(server, leader_fence=leader_fence) as it:
        await asyncio.sleep(0.02)
        assert server.log == []
        leader_fence.remaining = 3600
        await it.settle()
        assert POLICY in server.objects


async def test_wait_in_the_queue_begins_with_the_leadership() -> None:
    leader_fence, waits = LeaderFence(remaining=0), list[float]()
    counting = Instrumentation(waited=lambda _, seconds: waits.append(seconds))
    async with running(shop(), leader_fence=leader_fence, instrumentation=counting) as it:
        await asyncio.sleep(0)  # the worker waits for the leadership
        await it.clock.move_to(NOW + HOUR)
        leader_fence.remaining = 3600
        await it.settle()
        assert waits
        assert max(waits) == 0


async def test_lost_leadership_stops_the_next_write() -> None:
    server, leader_fence = shop(), LeaderFence()
    async with running(server, leader_fence=leader_fence) as it:
        await it.settle()
        server.log.clear()
        leader_fence.remaining = -1
        it.engine.observe(server.put(identity("payments", ports=["https"])))
        await asyncio.sleep(0.05)
        assert server.log == []


# Secrets


async def test_stale_event_does_not_restore_an_old_authority_key() -> None:
    old, new = builders.authority_secret(), builders.authority_secret(which="second")
    server = shop(old)
    async with running(server) as it:
        await it.settle()
        stale = copy.deepcopy(server.objects["Secret", Ref(OWN, "production-authority")])
        await it.put(new)
        it.engine.observe(stale)
        await it.settle()
        await it.put(identity("late"))
        assert ("Secret", Ref("shop", "late-identity")) in server.objects


async def test_no_key_is_in_a_status_or_an_event() -> None:
    server = shop()
    async with running(server) as it:
        await it.settle()
        broken = copy.deepcopy(server.objects[SECRET])
        broken["data"]["tls.key"] = broken["data"]["tls.crt"]
        await it.put(broken)
    told = json.dumps([server.events, [each.get("status") for each in server.objects.values()]])
    assert server.events
    for (kind, _), each in server.objects.items():
        if kind == "Secret":
            assert each["data"]["tls.key"] not in told
    assert "PRIVATE KEY" not in told


async def test_unplannable_resource_does_not_stop_others() -> None:
    server = shop(identity("unreadable", unheardOf=1))
    await converge(server)
    assert server.condition("ServiceIdentity", SID, "Ready")["status"] == "True"
    assert (
        server.condition("ServiceIdentity", Ref("shop", "unreadable"), "Ready")["reason"]
        == "InvalidSpec"
    )
