"""Another client that undoes each of Troth's writes is met with growing delays, and named."""

import copy
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from tests.builders import (
    NOW,
    OWN,
    Manifest,
    accept,
    call,
    domain,
    identity,
    namespace,
    secret,
    stamp,
)
from tests.reconcile.serving import Running, Server, running
from troth.cluster.errors import ApiError
from troth.planning.owned_objects import FOREIGN_RETRY
from troth.reconcile.drift.backoff import FREE, MOST, QUIET
from troth.resources.references import Ref
from troth.world.facts.objects import MANAGED_BY
from troth.world.keys import Key

SHOP = [namespace("shop", domain="production"), domain(tokens={})]
PAYMENTS = identity("payments", ports=["https"], accepts=[accept("checkout")])
CHECKOUT = identity("checkout", calls=[call("payments")])
IDENTITY = "ServiceIdentity", Ref("shop", "payments")
DOMAIN = "TrustDomain", Ref("", "production")
POLICY = "NetworkPolicy", Ref("shop", "payments-troth")
SECRET = "Secret", Ref("shop", "payments-identity")
BUNDLE = "ConfigMap", Ref("shop", "trust-bundle")
TOKENS = "Secret", Ref(OWN, "production-tokens")
SECOND = timedelta(seconds=1)
TEN_MINUTES = 600
FEW = 25
"""More writes than ten minutes of growing delays allow: 3 at once, 6 in a minute, then 9."""


def shop(*more: Manifest) -> Server:
    return Server([*SHOP, PAYMENTS, CHECKOUT, *more])


def opened(stored: Manifest) -> None:
    stored["spec"]["ingress"] = [{}]


def another_root(stored: Manifest) -> None:
    stored["data"]["ca.crt"] = "another's"


def another_peer_list(stored: Manifest) -> None:
    stored["data"]["identity.json"] = "e30="


def no_certificate(stored: Manifest) -> None:
    stored["data"]["tls.crt"] = "e30="


def another_view(stored: Manifest) -> None:
    stored["data"]["view.json.gz"] = "e30="


def written_by(stored: Manifest, manager: str, at: str) -> None:
    stored["metadata"]["managedFields"] = [
        {"manager": "troth", "operation": "Apply", "time": stamp(NOW)},
        {"manager": manager, "operation": "Update", "time": at},
        {"manager": "kube-controller-manager", "operation": "Update", "time": "2000-01-01"},
    ]


async def fight(
    it: Running,
    place: tuple[str, Ref],
    change: Callable[[Manifest], None],
    seconds: int = TEN_MINUTES,
) -> None:
    """Change an object in each second in which it is as Troth wrote it."""
    changed = ""
    for _ in range(seconds):
        stored = copy.deepcopy(it.server.objects[place])
        if stored["metadata"]["resourceVersion"] != changed:
            change(stored)
            written_by(stored, "argocd-controller", stamp(it.clock.now()))
            observed = it.server.put(stored)
            changed = observed["metadata"]["resourceVersion"]
            it.engine.observe(observed)
            await it.settle()
        await it.live(SECOND)


@pytest.mark.parametrize(
    ("place", "owner", "change"),
    [
        (POLICY, IDENTITY, opened),
        (SECRET, IDENTITY, another_peer_list),
        (SECRET, IDENTITY, no_certificate),
        (BUNDLE, DOMAIN, another_root),
        (TOKENS, DOMAIN, another_view),
    ],
    ids=["policy", "peer list", "certificate", "bundle", "issuer view"],
)
async def test_repeated_drift_is_restored_at_growing_intervals_and_names_the_other(
    place: tuple[str, Ref], owner: tuple[str, Ref], change: Callable[[Manifest], None]
) -> None:
    server = shop()
    async with running(server, due=True) as it:
        await it.settle()
        await it.live(timedelta(hours=1))
        server.log.clear()
        server.events.clear()
        await fight(it, place, change)
        assert FREE < server.log.count(place) <= 2 * FEW, (
            "an empty peer list is filled in two writes"
        )
        assert len(server.log) <= 10 * FEW, "statuses, and edges that close and open"
        assert len(server.events) <= 12
        ready = server.condition(*owner, "Ready")
        assert (ready["status"], ready["reason"]) == ("False", "Fighting")
        assert server.condition(*owner, "Stalled")["status"] == "True"
        assert f"{place[0]} {place[1]}" in ready["message"]
        assert '"argocd-controller"' in ready["message"]
        assert "kube-controller-manager" not in ready["message"]


async def test_first_repairs_are_immediate_and_no_later_one_waits_longer_than_the_bound() -> None:
    server = shop()
    async with running(server, due=True) as it:
        await it.settle()
        wanted = copy.deepcopy(server.objects[POLICY]["spec"])
        for _ in range(FREE):
            stored = copy.deepcopy(server.objects[POLICY])
            opened(stored)
            await it.put(stored)
            assert server.objects[POLICY]["spec"] == wanted
        await fight(it, POLICY, opened)
        await it.live(timedelta(seconds=MOST))
        assert server.objects[POLICY]["spec"] == wanted


async def test_changed_declaration_is_written_at_once_during_a_fight() -> None:
    server = shop()
    async with running(server, due=True) as it:
        await it.settle()
        await fight(it, POLICY, opened, 120)
        assert server.objects[POLICY]["spec"]["ingress"] == [{}]
        await it.put(identity("payments", ports=["https"]))
        assert not server.objects[POLICY]["spec"].get("ingress")


async def test_ready_is_true_once_the_object_stays_as_written() -> None:
    server = shop()
    async with running(server, due=True) as it:
        await it.settle()
        await fight(it, POLICY, opened, 60)
        await it.live(timedelta(seconds=MOST))
        assert server.condition(*IDENTITY, "Ready")["reason"] == "Fighting"
        assert it.engine.repairs.count() == {"NetworkPolicy": 1}
        await it.live(timedelta(seconds=QUIET + 1))
        assert server.condition(*IDENTITY, "Ready")["status"] == "True"
        assert it.engine.repairs.count() == {}
        assert not it.engine.world.contested
        server.log.clear()
        await it.live(timedelta(seconds=QUIET))
        assert server.log == []


async def test_fight_that_ends_while_its_owner_is_reconciled_is_over_a_moment_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = shop()
    async with running(server, due=True) as it:
        await it.settle()
        await fight(it, POLICY, opened, 60)
        await it.live(timedelta(seconds=MOST))
        left = it.engine.repairs.due(Key(*IDENTITY))
        assert left is not None
        await it.live(timedelta(seconds=left) - SECOND)
        write = server.merge_patch

        async def slow(*given: Any, **more: Any) -> Manifest:
            await it.clock.move_to(it.clock.now() + 2 * SECOND)
            return await write(*given, **more)

        monkeypatch.setattr(server, "merge_patch", slow)
        stored = copy.deepcopy(server.objects[IDENTITY])
        del stored["status"]["observedGeneration"]
        await it.put(stored)
        monkeypatch.undo()
        await it.live(SECOND)
        assert not it.engine.world.contested
        assert server.condition(*IDENTITY, "Ready")["status"] == "True"


async def test_contested_peer_list_closes_its_edges_at_the_other_layers() -> None:
    server = shop()
    async with running(server, due=True) as it:
        await it.settle()
        assert server.objects[POLICY]["spec"]["ingress"]
        await fight(it, SECRET, another_peer_list, 120)
        assert server.objects[SECRET]["data"]["identity.json"] == "e30="
        assert not server.objects[POLICY]["spec"].get("ingress")
        await it.live(timedelta(seconds=MOST))
        assert server.objects[SECRET]["data"]["identity.json"] != "e30="
        assert server.objects[POLICY]["spec"]["ingress"]


async def test_object_of_a_deleted_identity_is_not_rewritten_without_end() -> None:
    """The garbage collector deletes what Troth writes while the deletion is not observed."""
    server = shop()
    async with running(server, due=True) as it:
        await it.settle()
        uid = server.objects[IDENTITY]["metadata"]["uid"]
        server.take_away(*IDENTITY)  # and no watch reports it
        server.log.clear()
        for _ in range(200):
            await it.collect(uid)
        await it.live(SECOND)
        assert server.log.count(POLICY) <= 2 * FREE
        assert server.log.count(SECRET) <= 2 * FREE


@pytest.mark.parametrize("owner", [IDENTITY, DOMAIN], ids=["identity", "trust domain"])
async def test_owner_that_is_deleted_and_created_again_is_no_fight(owner: tuple[str, Ref]) -> None:
    """The garbage collector deletes the objects of the deleted owner each time."""
    server = shop()
    async with running(server, due=True) as it:
        await it.settle()
        for _ in range(2 * FREE):
            stored = server.objects[owner]
            await it.drop(*owner)
            await it.collect(stored["metadata"]["uid"])
            await it.put(SHOP[1] if owner == DOMAIN else PAYMENTS)
            await it.live(SECOND)
        assert server.condition(*owner, "Ready")["status"] == "True"
        assert "Fighting" not in json.dumps(server.events)


async def test_client_that_deletes_an_object_is_reported() -> None:
    server = shop()
    async with running(server, due=True) as it:
        await it.settle()
        for _ in range(2 * FREE):
            if POLICY in server.objects:
                await it.drop(*POLICY)
            await it.live(SECOND)
        ready = server.condition(*IDENTITY, "Ready")
        assert ready["reason"] == "Fighting"
        assert "deletes NetworkPolicy shop/payments-troth" in ready["message"]
        assert "audit log" in ready["message"]


async def test_own_deletion_is_not_reported_as_that_of_another_client() -> None:
    server = shop()
    async with running(server, due=True) as it:
        await it.settle()
        await it.put(identity("payments", ports=["https"], enforcement="Observe"))
        it.engine.forget(*POLICY, server._version)
        assert POLICY not in server.objects
        await it.put(PAYMENTS)
        for _ in range(2 * FREE):
            stored = copy.deepcopy(server.objects[POLICY])
            opened(stored)
            await it.put(stored)
            await it.live(SECOND)
        message = server.condition(*IDENTITY, "Ready")["message"]
        assert message.startswith("another client or an admission webhook changes NetworkPolicy")


async def test_object_that_another_client_creates_again_is_deleted_at_growing_intervals() -> None:
    server = shop()
    async with running(server, due=True) as it:
        await it.settle()
        policy = copy.deepcopy(server.objects[POLICY])
        await it.put(
            identity(
                "payments", ports=["https"], accepts=[accept("checkout")], enforcement="Observe"
            )
        )
        assert POLICY not in server.objects
        server.log.clear()
        for _ in range(TEN_MINUTES // 4):
            if POLICY not in server.objects:
                again = copy.deepcopy(policy)
                del again["metadata"]["uid"]
                await it.put(again)
            await it.live(SECOND)
        assert FREE < server.log.count(POLICY) <= FEW
        ready = server.condition(*IDENTITY, "Ready")
        assert "creates NetworkPolicy shop/payments-troth" in ready["message"]


def reworded(stored: Manifest) -> None:
    stored["status"]["conditions"][0]["message"] = "edited"


def without_conditions(stored: Manifest) -> None:
    stored["status"].pop("conditions", None)


@pytest.mark.parametrize("change", [reworded, without_conditions])
async def test_status_that_another_client_changes_is_written_at_growing_intervals(
    change: Callable[[Manifest], None],
) -> None:
    server = shop()
    async with running(server, due=True) as it:
        await it.settle()
        server.log.clear()
        server.events.clear()
        await fight(it, IDENTITY, change)
        assert FREE < server.log.count(IDENTITY) <= FEW
        assert server.reasons() == ["Fighting"]


class Altering(Server):
    """Alters writes as a mutating admission policy does."""

    alters: Callable[[tuple[str, Ref], Manifest], None] = staticmethod(lambda _, __: None)

    def _write(self, place: tuple[str, Ref], stored: Manifest) -> Manifest:
        self.alters(place, stored)
        return super()._write(place, stored)


def altering(place: tuple[str, Ref], alter: Callable[[Manifest], None]) -> Any:
    return lambda asked, stored: alter(stored) if asked == place else None


async def test_admission_that_alters_a_write_is_reported_with_the_field() -> None:
    server = Altering([*SHOP, PAYMENTS, CHECKOUT])
    async with running(server, due=True) as it:
        await it.settle()
        server.log.clear()
        server.alters = altering(POLICY, opened)
        await it.put(identity("payments", ports=["https"]))
        assert server.condition(*IDENTITY, "Ready")["reason"] == "Fighting", "at once"
        await it.live(timedelta(minutes=10))
        assert FREE < server.log.count(POLICY) <= FEW
        ready = server.condition(*IDENTITY, "Ready")
        assert ready["reason"] == "Fighting"
        assert f"stores spec.ingress of NetworkPolicy {POLICY[1]} otherwise" in ready["message"]
        assert "mutating admission policy or webhook" in ready["message"]
        server.alters = altering(POLICY, lambda _: None)
        await it.live(timedelta(seconds=MOST))
        await it.live(timedelta(seconds=QUIET + 1))
        assert not server.objects[POLICY]["spec"].get("ingress")
        assert server.condition(*IDENTITY, "Ready")["status"] == "True"


async def test_write_that_failed_once_and_is_altered_since_is_no_longer_refused() -> None:
    server = Altering([*SHOP, PAYMENTS, CHECKOUT])
    async with running(server, due=True) as it:
        await it.settle()
        server.alters = altering(POLICY, opened)
        lost = ApiError(0, "ClientOSError", "the API server cannot be reached")
        server.refuses = lambda asked: lost if asked == POLICY else None
        await it.put(identity("payments", ports=["https"]))
        assert server.condition(*IDENTITY, "Ready")["reason"] == "WriteRefused"
        server.refuses = lambda _: None
        it.engine.queue.add([Key(*IDENTITY)])
        await it.settle()
        assert server.condition(*IDENTITY, "Ready")["reason"] == "Fighting"
        assert it.engine.refusals.count() == {}


async def test_admission_that_removes_the_label_of_a_secret_is_reported_with_the_label() -> None:
    """The watch then reports the Secret as deleted."""

    def unlabelled(stored: Manifest) -> None:
        stored["metadata"]["labels"].pop(MANAGED_BY, None)

    server = Altering([*SHOP, CHECKOUT])
    async with running(server, due=True) as it:
        await it.settle()
        server.alters = altering(SECRET, unlabelled)
        await it.put(PAYMENTS)
        for _ in range(60):
            if MANAGED_BY not in server.objects[SECRET]["metadata"]["labels"]:
                it.engine.forget(*SECRET, server._version)
            await it.live(SECOND)
        ready = server.condition(*IDENTITY, "Ready")
        assert ready["reason"] == "Fighting"
        assert f"metadata.labels[{MANAGED_BY}] of Secret {SECRET[1]}" in ready["message"]


async def test_status_that_admission_alters_is_written_until_it_stays() -> None:
    server = Altering([*SHOP, CHECKOUT])
    async with running(server, due=True) as it:
        await it.settle()
        server.log.clear()
        server.events.clear()
        server.alters = altering(IDENTITY, without_conditions)
        await it.put(PAYMENTS)
        for _ in range(TEN_MINUTES):
            await it.live(SECOND)
        assert FREE < server.log.count(IDENTITY) <= FEW
        (event,) = [each for each in server.events if each["reason"] == "Fighting"]
        assert "status.conditions of the status of ServiceIdentity shop/payments" in event["note"]
        server.alters = altering(IDENTITY, lambda _: None)
        await it.live(timedelta(seconds=MOST))
        assert server.condition(*IDENTITY, "Ready")["status"] == "True"
        server.log.clear()
        await it.live(timedelta(seconds=QUIET + 1))
        assert server.log == []


async def test_toggled_declaration_is_no_fight() -> None:
    server = shop()
    async with running(server, due=True) as it:
        await it.settle()
        for _ in range(3 * FREE):
            await it.put(identity("payments", ports=["https"]))
            assert not server.objects[POLICY]["spec"].get("ingress")
            await it.put(PAYMENTS)
            assert server.objects[POLICY]["spec"]["ingress"]
        assert server.condition(*IDENTITY, "Ready")["status"] == "True"
        assert "Fighting" not in json.dumps(server.events)


async def test_object_of_another_owner_is_a_conflict_and_no_fight() -> None:
    """An object without Troth's label is not watched, so Troth tries to create it again."""
    server = Server(SHOP)
    async with running(server, due=True) as it:
        await it.settle()
        server.put(secret(SECRET[1].name, "shop", mine=b"x"))
        await it.put(identity("payments", ports=["https"]))
        for _ in range(3 * FREE):
            assert server.condition(*IDENTITY, "Ready")["reason"] == "Conflict"
            await it.live(FOREIGN_RETRY)
        server.take_away(*SECRET)
        await it.live(FOREIGN_RETRY)
        assert server.condition(*IDENTITY, "Ready")["status"] == "True"
        assert "Fighting" not in json.dumps(server.events)


async def test_short_lived_certificates_are_no_fight() -> None:
    brief = {"lifetime": "5m"}
    prompt = domain(certificates=brief, bundle={"propagation": "1m"})
    server = Server([SHOP[0], prompt, identity("payments", ports=["https"])])
    async with running(server, due=True) as it:
        await it.settle()
        for _ in range(40):
            await it.live(timedelta(seconds=30))
            assert server.condition(*IDENTITY, "Ready")["status"] == "True"
        assert server.log.count(SECRET) > FREE + 1


@pytest.mark.parametrize("keeps_root", [True, False], ids=["root kept", "root deleted"])
async def test_resource_that_is_declared_again_and_again_waits_for_nothing(
    keeps_root: bool,
) -> None:
    """Deleted with its objects and declared again, it is another resource, and not repaired."""
    server, (kind, ref) = shop(), DOMAIN
    root = Ref(OWN, "production-authority")
    async with running(server) as it:
        await it.settle()
        for number in range(3 * FREE):
            await it.drop(kind, ref)
            if not keeps_root:
                await it.drop("Secret", root)
            again = domain(tokens={})
            await it.put({**again, "metadata": {**again["metadata"], "uid": f"uid-{number}"}})
            assert server.condition(kind, ref, "AuthorityReady")["reason"] == "Active"
            assert server.objects[kind, ref]["status"]["observedGeneration"]
        assert not it.engine.repairs.count()
        assert "Fighting" not in server.reasons()
