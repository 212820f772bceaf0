"""A faulty network: lost answers, broken watches and compacted history.

Whatever an operator misses, it must not keep undeclared edges open. Whatever answer it misses, it
must not repeat the write.
"""

import asyncio
from pathlib import Path

import pytest

from sandbox import faults
from sandbox.faults import Fault, FaultyPath
from tests import builders
from tests.cluster.paths import KINDS, committed, faulty, lose, operated
from tests.cluster.person import until
from tests.cluster.stage import DOMAIN, IDENTITY, Stage, opened
from troth.cluster.resources import RESOURCES
from troth.planning.owned_objects import policy_ref, secret_ref
from troth.resources.references import Ref

GONE = [
    pytest.param(faults.status(410, "Expired"), id="answered with 410"),
    pytest.param(faults.error_event(410, "Expired"), id="ended with an ERROR event"),
]


@pytest.mark.parametrize("gone", GONE)
async def test_edge_closes_after_a_missed_deletion_of_its_caller(
    stage: Stage, tmp_path: Path, gone: Fault
) -> None:
    async with operated(stage, tmp_path) as path:
        payments, web = await stage.pair()
        await stage.settled()
        # also what the garbage collector deletes: its loss leads the operator to the identity
        path.muted |= {"serviceidentities", "networkpolicies", "secrets"}
        await stage.person.delete(IDENTITY, web)
        await stage.person.misses(IDENTITY, web)
        assert opened(await stage.policy(payments), "ingress") == [8443], "it knows of nothing"

        path.muted.clear()
        await lose(path, "serviceidentities", gone)
        await stage.closes(payments)
        await stage.person.hears(IDENTITY, payments, "PeersAgree", "PeerMissing", "False")


async def test_consent_revoked_in_a_watch_gap_closes_the_edge(stage: Stage, tmp_path: Path) -> None:
    async with operated(stage, tmp_path) as path:
        payments, _ = await stage.pair()
        path.muted.add("serviceidentities")
        await stage.identity("payments", ports=["https"])
        path.muted.clear()
        await lose(path, "serviceidentities", faults.status(410, "Expired"))
        await stage.closes(payments)


@pytest.mark.parametrize(
    ("kind", "resource"), [("NetworkPolicy", "networkpolicies"), ("Secret", "secrets")]
)
async def test_owned_object_deleted_in_a_watch_gap_is_restored(
    stage: Stage, tmp_path: Path, kind: str, resource: str
) -> None:
    async with operated(stage, tmp_path) as path:
        payments, _ = await stage.pair()
        ref = policy_ref(payments) if kind == "NetworkPolicy" else secret_ref(payments)
        await stage.settled()
        path.muted.add(resource)
        await stage.person.delete(kind, ref)
        await stage.person.misses(kind, ref)
        path.muted.clear()
        await lose(path, resource, faults.status(410, "Expired"))
        await stage.person.sees(kind, ref)
        await stage.person.ready(IDENTITY, payments)


async def test_domain_deleted_in_a_watch_gap_loses_its_bundles(
    stage: Stage, tmp_path: Path
) -> None:
    async with faulty(stage, tmp_path) as path:
        domain = await stage.domain()
        await stage.run(path.kubeconfig)
        await stage.pair()
        await stage.person.sees("ConfigMap", Ref(stage.shop, "trust-bundle"))
        path.muted.add("trustdomains")
        await stage.person.delete(DOMAIN, domain)
        path.muted.clear()
        await lose(path, "trustdomains", faults.status(410, "Expired"))
        await stage.person.misses("ConfigMap", Ref(stage.shop, "trust-bundle"))


async def test_watch_cut_within_an_event_resumes_with_that_event(
    stage: Stage, tmp_path: Path
) -> None:
    async with operated(stage, tmp_path) as path:
        payments, web = await stage.pair()
        lists = _lists_of_identities(path)
        path.tear("serviceidentities")
        await stage.person.delete(IDENTITY, web)
        await stage.closes(payments)
        assert _lists_of_identities(path) == lists, "resumed, not listed again"


def _lists_of_identities(path: FaultyPath) -> int:
    return sum(
        call.verb == "GET" and call.path.endswith("/serviceidentities") for call, _ in path.log
    )


@pytest.mark.parametrize("resource", KINDS)
async def test_broken_watch_is_opened_again(stage: Stage, tmp_path: Path, resource: str) -> None:
    async with operated(stage, tmp_path) as path:
        await stage.settled()
        open_before = path.watched(resource)
        path.once("WATCH", resource, faults.status(500, "InternalError"))
        assert path.cut(resource) == open_before > 0

        async def watched() -> int:
            return path.watched(resource)

        await until(watched, lambda number: number == open_before)
        await stage.pair()


async def test_leaf_with_lost_answer_is_not_reissued(stage: Stage, tmp_path: Path) -> None:
    async with faulty(stage, tmp_path) as path:
        domain = await stage.domain()
        await stage.run(path.kubeconfig)
        await stage.person.ready(DOMAIN, domain)
        path.once("PATCH", "secrets", faults.lost)
        payments = await stage.identity("payments")
        first = await stage.person.sees("Secret", secret_ref(payments))
        await stage.person.ready(IDENTITY, payments)
        await stage.settled()
        assert (await stage.secret(payments))["data"]["tls.key"] == first["data"]["tls.key"]
        assert committed(path, "secrets", "payments-identity") == 1


async def test_root_with_lost_answer_is_not_made_again(stage: Stage, tmp_path: Path) -> None:
    async with faulty(stage, tmp_path) as path:
        await stage.run(path.kubeconfig)
        path.once("PATCH", "secrets", faults.lost)
        domain = await stage.domain()
        root = Ref(stage.own, f"{domain.name}-authority")
        first = await stage.person.sees("Secret", root)
        await stage.person.ready(DOMAIN, domain)
        await stage.settled()
        assert (await stage.person.the("Secret", root))["data"] == first["data"]
        assert committed(path, "secrets", root.name) == 1


async def test_edit_seen_first_in_a_status_answer_is_reconciled(
    stage: Stage, tmp_path: Path
) -> None:
    """The answer to a write brings an edit before the watch does, whose event is then not new."""
    async with operated(stage, tmp_path) as path:
        payments, _ = await stage.pair()
        await stage.settled()
        release, path.muted = asyncio.Event(), {"serviceidentities"}
        path.once("PATCH", "serviceidentities", faults.held(release))
        before = await stage.secret(payments)
        await stage.person.delete("Secret", secret_ref(payments))
        await stage.person.sees(
            "Secret",
            secret_ref(payments),
            lambda seen: seen["metadata"]["uid"] != before["metadata"]["uid"],
        )
        await stage.identity("payments", ports=["https"])  # accepts nobody any more
        release.set()
        await stage.closes(payments)


@pytest.mark.parametrize("resource", ["networkpolicies", "serviceidentities", "configmaps"])
async def test_write_with_lost_answer_is_not_repeated(
    stage: Stage, tmp_path: Path, resource: str
) -> None:
    async with faulty(stage, tmp_path) as path:
        await stage.run(path.kubeconfig)
        path.once("PATCH", resource, faults.lost)
        await stage.domain()
        payments, _ = await stage.pair()
        await stage.settled()
        stage.requests.clear()
        await stage.look_again()
        assert stage.requests.made == []
        assert committed(path, "secrets", f"{payments.name}-identity") <= 2


async def test_rejected_write_is_reported_and_retried(stage: Stage, tmp_path: Path) -> None:
    async with operated(stage, tmp_path) as path:
        message = "exceeded quota: objects"
        path.always("PATCH", "networkpolicies", faults.status(403, "Forbidden", message))
        payments = await stage.identity("payments", ports=["https"])
        told = await stage.person.sees(
            IDENTITY, payments, lambda seen: message in str(seen.get("status"))
        )
        assert "exceeded quota" in str(told["status"]["conditions"])
        path.well()
        await stage.person.ready(IDENTITY, payments)


@pytest.mark.parametrize("resource", KINDS)
async def test_nothing_is_written_before_all_caches_are_in_sync(
    stage: Stage, tmp_path: Path, resource: str
) -> None:
    """An object that is not cached yet would look missing, and be created again or removed."""
    async with operated(stage, tmp_path) as path:
        await stage.pair()
        await stage.settled()
        await stage.operator.stop()
        before = await stage.written()

        release = asyncio.Event()
        path.always("GET", resource, faults.held(release))
        copy = await stage.stand_by(path.kubeconfig)

        async def others() -> int:
            return sum(informer.synced.is_set() for informer in copy.operator.informers)

        waiting = sum(
            faults_resource(informer.selection.kind) == resource
            for informer in copy.operator.informers
        )
        await until(others, lambda number: number == len(copy.operator.informers) - waiting)
        assert copy.requests.writes.total() == 0
        release.set()
        await copy.acting()
        await copy.settled()
        assert copy.requests.writes.total() == 0
        assert await stage.written() == before


def faults_resource(kind: str) -> str:
    """Return a kind's resource, in the plural."""
    name: str = RESOURCES[kind].name
    return name


async def test_leader_without_lease_stops_before_the_next_one_writes(
    stage: Stage, tmp_path: Path
) -> None:
    async with faulty(stage, tmp_path) as path:
        await stage.domain()
        leader = await stage.run(path.kubeconfig)
        payments, _ = await stage.pair()
        standby = await stage.stand_by()

        async def in_sync() -> bool:
            return standby.operator.ready

        await until(in_sync, bool)
        assert standby.requests.writes.total() == 0
        for verb in ("GET", "PUT", "POST", "PATCH"):
            path.always(verb, "leases", faults.status(500, "InternalError"))

        async def tampered_until_taken_over() -> bool:
            """Edit owned objects continuously, so that the leader always has something to write."""
            await stage.person.edit(
                "NetworkPolicy", policy_ref(payments), {"spec": {"ingress": [{}]}}
            )
            return standby.requests.writes.total() > 2

        await until(tampered_until_taken_over, bool)
        assert leader.requests.writes.total() > 0
        assert leader.requests.last_write < standby.requests.first_write
        assert not leader.operator.leadership.acting
        await stage.person.sees(
            "NetworkPolicy", policy_ref(payments), lambda seen: opened(seen, "ingress") == [8443]
        )


async def test_next_leader_reconciles_what_the_last_one_missed(
    stage: Stage, tmp_path: Path
) -> None:
    async with operated(stage, tmp_path) as path:
        await stage.stand_by()
        for verb in ("GET", "PUT", "POST", "PATCH"):
            path.always(verb, "leases", faults.status(500, "InternalError"))
        await stage.operator.acting()
        payments = await stage.identity("payments", ports=["https"])
        web = await stage.identity("web", calls=[builders.call("payments")])
        for ref in (payments, web):
            await stage.person.ready(IDENTITY, ref)
