"""Rounds of `troth prove` on a cluster in memory whose pods report what a test says."""

import asyncio
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests import builders
from tests.audit.proving.test_plan import accepting, calling
from tests.builders import Manifest
from troth.audit.proving.plan import Options
from troth.audit.proving.probe import Plan
from troth.cli.prove.pods import Runner
from troth.cli.prove.round import (
    MANAGER,
    Proven,
    Request,
    carry_out,
    planned,
    prove_all,
    read_registry,
)
from troth.cluster.errors import ApiError
from troth.documents.probes import (
    VARIABLE,
    Instruction,
    Outcome,
    PodReport,
    Seen,
    read_instructions,
)
from troth.resources.faults import FaultyManifests
from troth.resources.identity.spec import ServiceIdentity
from troth.resources.references import Ref
from troth.resources.reported import ProofResult

PAYMENTS = Ref("shop", "payments")
AS_DECLARED = {
    (True, True): Seen(Outcome.ANSWERED, 200),
    (True, False): Seen(Outcome.CONNECTED),
    (False, True): Seen(Outcome.ANSWERED, 403, "caller-not-accepted"),
    (False, False): Seen(Outcome.TIMEOUT),
}
"""What probes see in a cluster that does as it should, by `passes` and `request`."""

Sees = Callable[[Instruction], Seen]


def as_declared(ask: Instruction) -> Seen:
    return AS_DECLARED[ask.passes, ask.request]


def callee_pod(**status: Any) -> Manifest:
    ready = {"type": "Ready", "status": "True"}
    return {
        "kind": "Pod",
        "metadata": {
            "namespace": "shop",
            "name": "payments-1",
            "uid": "u1",
            "labels": {"app": "payments"},
        },
        "status": {"phase": "Running", "podIP": "10.0.0.7", "conditions": [ready], **status},
    }


def shop() -> list[Manifest]:
    return [
        builders.domain(),
        builders.namespace("shop", domain="production"),
        accepting("payments", "checkout"),
        calling("checkout", "payments"),
        calling("batch"),
    ]


@dataclass
class Cluster:
    """An API server whose Jobs end at once."""

    objects: list[Manifest] = field(default_factory=shop)
    pods: list[Manifest] = field(default_factory=lambda: [callee_pod()])
    sees: Sees = as_declared
    log_of: Callable[[PodReport], bytes] = lambda report: report.line.encode()
    condition: str = "Complete"
    created: list[Manifest] = field(default_factory=list)
    jobs: dict[Ref, Manifest] = field(default_factory=dict)
    statuses: dict[Ref, tuple[Manifest, str]] = field(default_factory=dict)
    rejects: bool = False
    gone: dict[Ref, int] = field(default_factory=dict)
    """Status codes with which the server answers writes of statuses."""
    uids: dict[Ref, str] = field(default_factory=dict)
    """UIDs that writes of statuses name."""

    async def create(self, manifest: Manifest) -> Manifest:
        if self.rejects:
            raise ApiError(403, "Forbidden", "exceeded quota: pods")
        self.created.append(manifest)
        self.jobs[Ref.of(manifest)] = manifest
        return {**manifest, "metadata": {**manifest["metadata"], "uid": "a-job"}}

    async def get(self, kind: str, ref: Ref) -> Manifest:
        assert kind == "Job"
        condition = {"type": self.condition, "status": "True", "reason": "DeadlineExceeded"}
        return {**self.jobs[ref], "status": {"conditions": [condition]}}

    async def listed(
        self, kind: str, namespace: str = "", *, labels: str = "", fields: str = ""
    ) -> list[Manifest]:
        del fields
        if kind != "Pod":
            return [each for each in self.objects if each["kind"] == kind]
        if labels:
            name = labels.partition("=")[2]
            status = {"phase": "Succeeded"}
            return [{"metadata": {"namespace": namespace, "name": name}, "status": status}]
        return [each for each in self.pods if each["metadata"]["namespace"] == namespace]

    async def log(self, pod: Ref, *, most_bytes: int) -> bytes:
        asked = read_instructions(_variable(self.jobs[pod]))
        seen = tuple(map(self.sees, asked.probes))
        return self.log_of(PodReport(asked.nonce, seen, True))[:most_bytes]

    async def delete(self, kind: str, ref: Ref, uid: str) -> Manifest:
        assert (kind, uid) == ("Job", "a-job")
        return self.jobs.pop(ref)

    async def apply_status(self, manifest: Manifest, manager: str) -> Manifest:
        ref = Ref.of(manifest)
        if ref in self.gone:
            raise ApiError(self.gone[ref], "NotFound", "not found")
        self.uids[ref] = manifest["metadata"].get("uid", "")
        self.statuses[ref] = manifest["status"], manager
        return manifest

    async def prove(self, *, said: list[str] | None = None, **request: Any) -> Proven:
        asked = Request(options=Options("1", own_namespace=builders.OWN), **request)
        registry = await read_registry(self, builders.OWN)
        plan = planned(registry, asked, builders.NOW)
        lines = said if said is not None else []
        runner = self.runner(plan)
        return await prove_all(
            self, registry, plan, runner, asked, lines.append, lambda: builders.NOW
        )

    def runner(self, plan: Plan, rate: int = 600) -> Runner:
        clock = iter(range(10**9))

        async def pause(_seconds: float) -> None:
            pass

        return Runner(
            self, plan.callers, "troth:1", rate, pause=pause, clock=lambda: float(next(clock))
        )


def _variable(job: Manifest) -> str:
    (container,) = job["spec"]["template"]["spec"]["containers"]
    return str(next(each["value"] for each in container["env"] if each["name"] == VARIABLE))


def results(proven: Proven) -> dict[str, set[ProofResult]]:
    found: dict[str, set[ProofResult]] = {}
    for each in proven.proofs[PAYMENTS]:
        found.setdefault(each.probe, set()).add(each.result)
    return found


PROVEN, DISPROVEN = {ProofResult.PROVEN}, {ProofResult.DISPROVEN}
INCONCLUSIVE = {ProofResult.INCONCLUSIVE}


async def test_cluster_that_does_as_declared_is_proven() -> None:
    cluster = Cluster()
    proven = await cluster.prove()
    assert set(map(frozenset, results(proven).values())) == {frozenset(PROVEN)}
    assert not proven.disproven
    assert cluster.jobs == {}, "a round deletes its Jobs"


async def test_proofs_are_written_by_a_field_manager_of_their_own() -> None:
    cluster = Cluster()
    await cluster.prove()
    status, manager = cluster.statuses[PAYMENTS]
    assert manager == MANAGER == "troth-prover"
    assert status.keys() == {"proofs"}
    identity = next(each for each in cluster.objects if Ref.of(each) == PAYMENTS)
    read = ServiceIdentity.parse({**identity, "status": status})
    assert {each.peer for each in read.status.proofs} == {
        "shop/checkout",
        "shop/batch",
        "troth-system/troth-prover",
    }


async def test_open_pair_is_disproven() -> None:
    def open_to_all(ask: Instruction) -> Seen:
        return as_declared(ask) if ask.request else Seen(Outcome.CONNECTED)

    proven = await Cluster(sees=open_to_all).prove()
    assert results(proven)["UndeclaredEdge"] == DISPROVEN
    assert proven.disproven


@pytest.mark.parametrize("status", [{"podIP": ""}, {"phase": "Pending"}, {"conditions": []}])
async def test_callee_without_a_ready_pod_proves_nothing(status: Manifest) -> None:
    cluster = Cluster(pods=[callee_pod(**status)])
    proven = await cluster.prove()
    assert set(map(frozenset, results(proven).values())) == {frozenset(INCONCLUSIVE)}
    assert cluster.created == []


async def test_probe_pod_is_not_taken_for_a_pod_of_the_callee() -> None:
    pod = callee_pod()
    pod["metadata"]["labels"]["troth.dev/probe"] = "true"
    cluster = Cluster(pods=[pod])
    await cluster.prove()
    assert cluster.created == []


async def test_callee_that_is_down_proves_nothing() -> None:
    proven = await Cluster(sees=lambda _: Seen(Outcome.RESET)).prove()
    assert set(map(frozenset, results(proven).values())) == {frozenset(INCONCLUSIVE)}


async def test_callee_that_goes_down_during_the_round_proves_no_failure() -> None:
    cluster = Cluster()

    def until_the_second_step(ask: Instruction) -> Seen:
        return as_declared(ask) if len(cluster.created) == 1 else Seen(Outcome.TIMEOUT)

    cluster.sees = until_the_second_step
    found = results(await cluster.prove())
    assert found["DeclaredEdge"] == PROVEN
    assert found["UndeclaredEdge"] == INCONCLUSIVE


async def test_callee_that_was_replaced_during_the_round_proves_nothing() -> None:
    cluster = Cluster()

    def replacing(ask: Instruction) -> Seen:
        cluster.pods = [callee_pod(podIP="10.0.0.8")]
        return as_declared(ask)

    cluster.sees = replacing
    proven = await cluster.prove()
    assert set(map(frozenset, results(proven).values())) == {frozenset(INCONCLUSIVE)}


HOSTILE = {
    "nothing": lambda _: b"",
    "no JSON": lambda _: b"all is well",
    "another nonce": lambda each: each.line.replace('"nonce":"', '"nonce":"0').encode(),
    "too few": lambda each: PodReport(each.nonce, each.seen[:-1], True).line.encode(),
    "an own verdict": lambda each: each.line.replace("Timeout", "Proven").encode(),
    "an escape sequence": lambda each: each.line.replace("token", "\x1b[2J").encode() + b"\x1b",
    "endless": lambda each: b"x" * 10**6 + each.line.encode(),
}


@pytest.mark.parametrize("log", HOSTILE.values(), ids=HOSTILE)
async def test_hostile_log_proves_nothing(log: Callable[[PodReport], bytes]) -> None:
    proven = await Cluster(log_of=log).prove()
    assert set(map(frozenset, results(proven).values())) <= {
        frozenset(INCONCLUSIVE),
        # what only other pods have seen still counts
        frozenset(PROVEN),
    }
    assert results(proven)["UndeclaredEdge"] == INCONCLUSIVE
    for each in proven.proofs[PAYMENTS]:
        assert each.evidence.isprintable()


async def test_job_that_is_rejected_proves_nothing_and_says_why() -> None:
    said: list[str] = []
    proven = await Cluster(rejects=True).prove(said=said)
    assert set(map(frozenset, results(proven).values())) == {frozenset(INCONCLUSIVE)}
    assert said
    assert all("exceeded quota" in each for each in said)


async def test_job_that_fails_proves_nothing_and_is_deleted() -> None:
    cluster = Cluster(condition="Failed")
    proven = await cluster.prove()
    assert set(map(frozenset, results(proven).values())) == {frozenset(INCONCLUSIVE)}
    assert cluster.jobs == {}


async def test_job_that_never_ends_is_given_up_and_deleted() -> None:
    cluster = Cluster(condition="Suspended")
    proven = await cluster.prove()
    assert set(map(frozenset, results(proven).values())) == {frozenset(INCONCLUSIVE)}
    assert cluster.jobs == {}


async def test_interrupted_round_deletes_its_jobs() -> None:
    cluster = Cluster()
    registry = await read_registry(cluster, builders.OWN)
    plan = planned(registry, Request(options=Options("1")), builders.NOW)
    runner = cluster.runner(plan)

    async def interrupted(kind: str, ref: Ref) -> Manifest:
        del kind, ref
        raise asyncio.CancelledError

    cluster.get = interrupted  # type: ignore[method-assign]
    with pytest.raises(asyncio.CancelledError):
        await carry_out(cluster, registry, plan, runner, print)
    assert cluster.jobs
    await runner.close()
    assert cluster.jobs == {}


async def test_pods_start_at_the_given_rate() -> None:
    cluster = Cluster()
    registry = await read_registry(cluster, builders.OWN)
    plan = planned(registry, Request(options=Options("1")), builders.NOW)
    waits: list[float] = []

    async def pause(seconds: float) -> None:
        waits.append(seconds)

    runner = Runner(cluster, plan.callers, "troth:1", 6, pause=pause, clock=lambda: 0.0)
    await carry_out(cluster, registry, plan, runner, print)
    assert waits == [10.0 * number for number in range(1, len(cluster.created))]


async def test_round_of_one_identity_leaves_others_alone() -> None:
    cluster = Cluster([*shop(), accepting("ledger", "checkout")])
    await cluster.prove(identity=PAYMENTS)
    assert cluster.statuses.keys() == {PAYMENTS}
    with pytest.raises(FaultyManifests):
        await cluster.prove(identity=Ref("shop", "nobody"))


def scheduled(**proving: Any) -> Iterator[Manifest]:
    for each in shop():
        yield builders.domain(proving=proving) if each["kind"] == "TrustDomain" else each


async def test_schedule_proves_only_where_a_domain_asks() -> None:
    assert (await Cluster().prove(scheduled=True)).proofs == {}
    assert PAYMENTS in (await Cluster(list(scheduled())).prove(scheduled=True)).proofs


async def test_schedule_proves_again_once_proofs_are_old() -> None:
    cluster = Cluster(list(scheduled(every="24h", sample=1)))
    proven = await cluster.prove(scheduled=True)
    assert len([each for each in proven.proofs[PAYMENTS] if each.probe == "UndeclaredEdge"]) == 2
    status, _ = cluster.statuses[PAYMENTS]
    for age, due in ((23, False), (24, True)):
        made = json.loads(json.dumps(status))
        for each in made["proofs"]:
            each["provenAt"] = builders.stamp(builders.NOW - age * builders.HOUR)
        later = [
            {**each, "status": made} if Ref.of(each) == PAYMENTS else each
            for each in scheduled(every="24h", sample=1)
        ]
        again = await Cluster(later).prove(scheduled=True)
        assert (PAYMENTS in again.proofs) is due


async def test_identity_without_any_probe_loses_its_old_proofs() -> None:
    cluster = Cluster()
    await cluster.prove()
    status, _ = cluster.statuses.pop(PAYMENTS)
    everybody = {"unverified": {"cidrs": ["0.0.0.0/0"], "reason": "public"}, "ports": ["https"]}
    public = accepting("payments", also=[everybody])
    objects = [each for each in shop() if Ref.of(each) != PAYMENTS]
    later = Cluster([*objects, public | {"status": status}])
    await later.prove()
    assert later.statuses[PAYMENTS][0] == {"proofs": []}
    later = Cluster([*objects, public])
    await later.prove()
    assert later.statuses == {}


def watching(*names: str) -> list[Manifest]:
    """Return the shop with another callee in `legal`; Troth watches these namespaces."""
    _, shops, *identities = shop()
    domain = builders.domain() | {"status": {"watchedNamespaces": list(names)}}
    abroad = accepting("archive")
    abroad["metadata"]["namespace"] = "legal"
    legal = builders.namespace("legal", domain="production")
    return [abroad, *identities, shops, legal, domain]


async def test_namespaces_that_troth_does_not_watch_are_not_probed() -> None:
    request = Request(options=Options("1", own_namespace=builders.OWN))
    for watched, callees in (((), {"shop", "legal"}), (("shop",), {"shop"})):
        registry = await read_registry(Cluster(watching(*watched)), builders.OWN)
        plan = planned(registry, request, builders.NOW)
        assert {each.namespace for each in plan.callees} == callees


@pytest.mark.parametrize("asked", [{"namespace": "legal"}, {"identity": Ref("legal", "archive")}])
async def test_request_for_a_namespace_that_troth_does_not_watch_is_rejected(asked: Any) -> None:
    cluster = Cluster(watching("shop"))
    with pytest.raises(FaultyManifests, match="Troth does not watch namespace legal"):
        await cluster.prove(**asked)
