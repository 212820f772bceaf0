"""The chart's roles, compared with what the API server's audit log says that the programs use.

A right that nobody uses is one that an attacker could. A request that is denied is a fault, even if
the program can do without.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from sandbox import Sandbox
from sandbox.cluster import named_kubeconfig
from sandbox.faults import FaultyPath
from sandbox.processes import Tether
from tests import builders, messaging
from tests.broker_builders import publisher, subscriber
from tests.brokers.nats.stage import Stage as Account
from tests.builders import stamp
from tests.cluster import test_gateway, test_issuer
from tests.cluster.audit import Audit, audited
from tests.cluster.brokers.market import BROKER, POLICY, Market
from tests.cluster.person import until
from tests.cluster.stage import DOMAIN, IDENTITY, QUICK, Stage, staged
from tests.cluster.test_rollouts import PROPAGATION, renewed
from tests.cluster.webhooks.shop import KIND, opened
from tests.issuer.builders import ISSUER, PAYMENTS, without_edge
from tests.issuer.running import caller
from tests.review.desk import Desk
from tests.review.memory_topic import MemoryTopic
from tests.reviews import dead_letter_review
from tests.webhook_builders import ONE, endpoint, issued
from troth.cli.review.process import AUDIT_LOG
from troth.cluster.api import ApiServer
from troth.cluster.connection.connecting import configuration
from troth.cluster.leases.claim import CLAIM
from troth.planning.owned_objects import broker_policy_ref, policy_ref, secret_ref
from troth.reconcile.operator import LEASE
from troth.resources.references import Ref
from troth.review.api.access import Access, Verb
from troth.review.api.problems import ProblemError
from troth.review.four_eyes import PROPAGATION as PROPAGATION_OF_RULES
from troth.review.index.store import LetterIndex
from troth.review.trail.head_store import HeadStore
from troth.review.trail.log import AuditLog
from troth.review.trail.metrics import AuditLogMetrics
from troth.review.trail.sinks import LineSink
from troth.review.worker import FIELD_MANAGER, Settings, Worker
from troth.world.facts.objects import ISOLATION_POLICY

ANOTHER_KEY = b"whsec_" + b"QUFB" * 8


@pytest.fixture(scope="module")
def recorded(established: Sandbox) -> Iterator[tuple[Sandbox, Audit]]:
    if named_kubeconfig() is not None:
        pytest.skip("the audit log of the named cluster is not ours to read")
    with audited(established) as found:
        yield found


@pytest.fixture
def audit(recorded: tuple[Sandbox, Audit]) -> Audit:
    return recorded[1]


@pytest.fixture
async def stage(recorded: tuple[Sandbox, Audit]) -> AsyncIterator[Stage]:
    """Yield Troth, installed with everything that adds rights to the operator."""
    async with staged(recorded[0], rollouts=True) as setting:
        yield setting


@pytest.fixture
def tether(tmp_path: Path) -> Iterator[Tether]:
    with Tether(tmp_path / "processes") as tied:
        tied.directory.mkdir()
        yield tied


async def test_operator_uses_each_of_its_rights(stage: Stage, audit: Audit, nats: Account) -> None:
    person = stage.person
    await person.delete("Lease", Ref(stage.own, LEASE))
    await _restart_workloads(stage)
    await _administer_a_broker(stage, nats)
    await _serve_webhooks(stage)
    await _restore_and_remove(stage)
    await stage.settled()
    await _share_the_lease(stage)
    await _claim_again(stage)
    assert audit.unused(stage.installed, Ref(stage.own, stage.own)) == []


async def _share_the_lease(stage: Stage) -> None:
    """Let a replica that has shards renew its annotation of the lease."""
    lease = Ref(stage.own, LEASE)
    await stage.operator.stop()
    await stage.run(shards=2)
    acquired = await stage.person.the("Lease", lease)
    await stage.person.sees(
        "Lease", lease, lambda each: each["spec"]["renewTime"] > acquired["spec"]["renewTime"]
    )


async def _claim_again(stage: Stage) -> None:
    """Let the operator take the claim of the cluster from nobody, and create its Lease."""

    async def taken() -> None:
        await stage.person.sees(
            "Lease", CLAIM, lambda each: each["spec"].get("holderIdentity") == stage.own
        )

    await stage.person.edit("Lease", CLAIM, {"spec": {"holderIdentity": None}})
    await taken()
    await stage.person.delete("Lease", CLAIM)
    await taken()


async def _restart_workloads(stage: Stage) -> None:
    payments = await renewed(stage)
    await stage.later(2 * PROPAGATION)
    await stage.person.hears(IDENTITY, payments, "RolledOut", "InUse", "True")


async def _administer_a_broker(stage: Stage, nats: Account) -> None:
    person = stage.person
    market = await Market.on(stage, nats)
    workload = {
        "podSelector": {"matchLabels": {"app": "nats"}},
        "ports": [{"name": "nats", "port": 4222}],
    }
    await person.put(market.broker(workload=workload), market.policy())
    for team in (publisher(namespace=stage.shop), subscriber(namespace=stage.shop)):
        await person.put(team)
    await market.in_place()
    await _restored(stage, "NetworkPolicy", broker_policy_ref(market.main))
    for kind, ref in ((POLICY, market.orders), (BROKER, market.main)):
        await person.delete(kind, ref)
        await person.misses(kind, ref)


async def _serve_webhooks(stage: Stage) -> None:
    shop = await opened(stage)
    await shop.ready()
    await shop.give(main=ONE)
    await shop.declare(issued())
    await shop.declare(endpoint("generated"))
    (made,) = [
        Ref.of(each)
        for each in await stage.person.all("Secret", stage.shop)
        if [owner["kind"] for owner in each["metadata"].get("ownerReferences", [])] == [KIND]
    ]
    await _restored(stage, "Secret", made)
    await stage.person.delete(KIND, shop.charges)
    await stage.person.misses("Secret", shop.compiled_ref)


async def _restore_and_remove(stage: Stage) -> None:
    """Restore what is deleted, keep what is foreign, and leave a namespace."""
    person = stage.person
    orders = await stage.identity("orders")
    await person.ready(IDENTITY, orders)
    now = stamp(stage.clock.now())
    rotation = builders.rotation(IDENTITY, "orders", stage.shop, requestedAt=now)
    await person.put(rotation)
    await person.sees("CredentialRotation", Ref.of(rotation), lambda each: each.get("status"))
    await _restored(stage, "Secret", secret_ref(orders))

    foreign = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy"}
    place = policy_ref(Ref(stage.shop, "late"))
    metadata = {"name": place.name, "namespace": place.namespace}
    await person.put({**foreign, "metadata": metadata, "spec": {"podSelector": {}}})
    late = await stage.identity("late")
    await person.hears(IDENTITY, late, "NetworkEnforced", "Conflict", "False")

    await stage.domain(isolation="Namespace")
    left = await stage.namespace()
    places = (
        ("ConfigMap", Ref(left, "trust-bundle")),
        ("NetworkPolicy", Ref(left, ISOLATION_POLICY)),
    )
    for kind, ref in places:
        await person.sees(kind, ref)
    await person.put(builders.namespace(left, domain="another"))
    for kind, ref in places:
        await person.misses(kind, ref)


async def _restored(stage: Stage, kind: str, ref: Ref) -> None:
    """Delete an object, and wait until the operator has created it again."""
    before = (await stage.person.the(kind, ref))["metadata"]["uid"]
    await stage.person.delete(kind, ref)
    await stage.person.sees(kind, ref, lambda each: each["metadata"]["uid"] != before)


async def test_operator_of_some_namespaces_requests_nothing_of_others(
    stage: Stage, audit: Audit
) -> None:
    person, other = stage.person, f"{stage.name}-1"
    assert other == await stage.namespace()
    await stage.install_for(stage.shop)
    domain = await stage.domain(isolation="Namespace")
    await stage.run()
    ghost = await stage.identity("ghost", other)
    await stage.pair()
    await stage.identity("web", calls=[builders.call("ghost", namespace=other)])
    told = await person.hears(DOMAIN, domain, "NamespacesWatched", "NamespaceNotWatched", "False")
    assert f"{other}; add them to the chart value namespaces" in told
    caller = Ref(stage.shop, "web")
    told = await person.hears(IDENTITY, caller, "PeersAgree", "PeerMissing", "False")
    assert f"Troth does not watch namespace {other}; add it to the chart value" in told
    await stage.settled()

    assert "conditions" not in (await person.the(IDENTITY, ghost)).get("status", {})
    for kind in ("Secret", "NetworkPolicy"):
        assert await person.all(kind, other) == []
    used = audit.used(Ref(stage.own, stage.own))
    known = (stage.shop, stage.own, "default", CLAIM.namespace)
    elsewhere = {each for each in used if each.namespace not in known}
    assert {each.resource.split("/")[0] for each in elsewhere} == {
        *("trustdomains.troth.dev", "namespaces"),
        *("messagebrokers.troth.dev", "topicpolicies.troth.dev"),
        "customresourcedefinitions.apiextensions.k8s.io",
    }


async def test_issuer_uses_each_of_its_rights(
    stage: Stage, audit: Audit, tether: Tether, tmp_path: Path
) -> None:
    setting = await test_issuer.with_issuer(stage, tether)
    await setting.write()
    async with FaultyPath(setting.kubeconfig, tmp_path / "path") as path:
        setting.kubeconfig = path.kubeconfig
        issuer = setting.issuer()
        await issuer.ready()
        async with issuer.caller(caller(tmp_path)) as anybody:
            token = stage.sandbox.kubectl(
                *("create", "token", "default", "-n", stage.shop, "--audience", ISSUER)
            ).strip()
            assert (await anybody.exchange(token, PAYMENTS))["error"] == "invalid_grant"
            path.muted.add("secrets")  # so that it gets the next version itself
            await setting.write(without_edge())
            await until(lambda: anybody.ask(PAYMENTS), lambda answer: "error" in answer)
        issuer.kill()
    assert audit.unused(stage.installed, Ref(stage.own, setting.account)) == []


async def test_gateway_uses_each_of_its_rights(
    stage: Stage, audit: Audit, tether: Tether, tmp_path: Path
) -> None:
    setting = await test_gateway.installed(stage)
    await test_gateway.test_two_replicas_report_in_one_config_map(setting)
    await setting.write("shop.orders", test_gateway.compiled())
    await setting.write_key()
    async with FaultyPath(setting.kubeconfig, tmp_path / "path") as path:
        gateway = test_gateway.Gateway(tether, setting, path.kubeconfig)
        await gateway.ready()
        path.muted.add("secrets")  # so that it gets the next version itself
        await setting.write("shop.orders", {**test_gateway.compiled(), "key.k1": ANOTHER_KEY})
        await gateway.answers(test_gateway.UNVERIFIED)
        gateway.stop()
    assert audit.unused(stage.installed, Ref(setting.namespace, test_gateway.GATEWAY)) == []


async def test_review_worker_uses_each_of_its_rights(
    stage: Stage, audit: Audit, tmp_path: Path
) -> None:
    """The worker carries out a review with a dead-letter topic in memory."""
    await stage.install("review.enabled=true", "review.admissionPolicy=true")
    person, account = stage.person, Ref(stage.own, "troth-review")
    orders = Ref(stage.shop, "orders")
    await person.put(messaging.policy(orders.name, orders.namespace))
    desk = Desk(tmp_path)
    desk.now = time.time()
    desk.review(policy=str(orders), letters={"approvals": 0})
    identity = desk.identity(desk.reviewer)
    config = await configuration(str(await stage.kubeconfig_of(account)))
    async with ApiServer(config, field_manager=FIELD_MANAGER) as server:
        with (tmp_path / "audit.jsonl").open("wb") as output:
            log = AuditLog(
                HeadStore(server, Ref(stage.own, AUDIT_LOG)),
                identity,
                [LineSink(output)],
                AuditLogMetrics(CollectorRegistry()),
            )
            settings = Settings(
                namespace=stage.own,
                instance="review_1",
                credentials=tmp_path,
                admission_policy=f"{stage.own}-dead-letter-reviews",
                timing=QUICK,
            )
            index = LetterIndex(tmp_path / "letters.sqlite")
            worker = Worker(
                server, settings, identity, index, log, connect=lambda *_: MemoryTopic()
            )
            working = [asyncio.create_task(each.run()) for each in (worker, log)]
            try:
                await _reviewed(stage, orders)
                access = Access(server)
                user = await access.user(await person.token(account), "")
                with pytest.raises(ProblemError, match="cannot list"):
                    await access.check(user, orders, Verb.LIST)
                await person.sees("TopicPolicy", orders, lambda each: each.get("status"))
            finally:
                for each in working:
                    each.cancel()
                ended = await asyncio.gather(*working, return_exceptions=True)
                index.close()
    assert [type(each) for each in ended] == [asyncio.CancelledError] * 2
    assert audit.unused(stage.installed, account) == []


async def _reviewed(stage: Stage, policy: Ref) -> None:
    """Request a review once its rules are in force, and wait until it has ended."""
    me = json.loads(stage.sandbox.kubectl("auth", "whoami", "-o", "json"))
    user = me["status"]["userInfo"]["username"]
    await asyncio.sleep(PROPAGATION_OF_RULES.total_seconds() + 2)
    await stage.person.put(
        dead_letter_review("fix", policy.namespace, action="Discard", requested_by=user)
    )
    await stage.person.sees(
        "DeadLetterReview",
        Ref(policy.namespace, "fix"),
        lambda each: each.get("status", {}).get("phase") == "Completed",
    )
