"""Takeover: one copy is killed or frozen in the middle of its work, and another continues.

The API server is the judge: what it stored, in which order, and which copy asked for it.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sandbox import faults
from sandbox.faults import Call, FaultyPath
from sandbox.processes import Tether
from tests import builders
from tests.cluster.person import Manifest, until
from tests.cluster.process import Process
from tests.cluster.stage import IDENTITY, Stage, leaf_of, opened
from tests.cluster.witness import Witness, each_got_one_certificate, existing
from troth.cluster.api import ApiServer
from troth.cluster.connection.connecting import configuration
from troth.cluster.errors import ApiError
from troth.planning.owned_objects import policy_ref
from troth.resources.references import Ref

WIDE: Manifest = {"spec": {"ingress": [{}]}}
MANY = 120


@contextmanager
def tied(directory: Path) -> Iterator[Tether]:
    with Tether(directory / "processes") as tether:
        tether.directory.mkdir()
        yield tether


async def ring(stage: Stage, number: int = MANY) -> list[Ref]:
    """Declare services in a ring, each of which calls the next."""

    def declare(at: int) -> Awaitable[Ref]:
        accepts = [builders.accept(f"service-{(at - 1) % number}")]
        calls = [builders.call(f"service-{(at + 1) % number}")]
        return stage.identity(f"service-{at}", ports=["https"], accepts=accepts, calls=calls)

    return list(await asyncio.gather(*map(declare, range(number))))


async def holder(stage: Stage) -> str:
    """Return the holder of the lease, as the API server has it."""
    lease = await stage.person.the("Lease", Ref(stage.own, "troth-operator"))
    name: str = lease["spec"]["holderIdentity"]
    return name


async def everything_is_as_declared(stage: Stage, refs: list[Ref]) -> None:
    for ref in refs:
        await stage.person.hears(IDENTITY, ref, "PeersAgree", "AllLive", "True")
        await stage.person.ready(IDENTITY, ref)
        policy = await stage.policy(ref)
        assert opened(policy, "ingress") == opened(policy, "egress") == [8443]


def closed(policy: Manifest) -> bool:
    return not opened(policy, "ingress")


async def in_the_middle(secrets: Witness, stage: Stage, number: int = MANY) -> None:
    """Wait until some of a number of Secrets exist in the test's namespaces, but far from all."""

    async def made() -> int:
        return len(existing(secrets.seen, stage.namespaces))

    assert await until(made, lambda found: found > number / 4) < number


# Killed


async def test_standby_takes_over_from_a_killed_leader_and_issues_nothing_twice(
    stage: Stage, tmp_path: Path
) -> None:
    await stage.domain()
    kubeconfig = stage.sandbox.kubeconfig
    with tied(tmp_path) as tether:
        first = Process(tether, "first", stage.kubeconfig, stage.own)
        await first.leads()
        await Process(tether, "second", stage.kubeconfig, stage.own).ready()
        async with (
            Witness(kubeconfig, "Secret", stage.shop) as secrets,
            Witness(kubeconfig, "NetworkPolicy", stage.shop) as policies,
            Witness(kubeconfig, "Lease", stage.own) as leases,
        ):
            leader = await holder(stage)
            declaring = asyncio.create_task(ring(stage))
            await in_the_middle(secrets, stage)
            first.kill()
            await everything_is_as_declared(stage, await declaring)

            taken = next(
                sight
                for sight in await leases.everything()
                if sight.manifest["spec"]["holderIdentity"] != leader
            )
            written = [*await secrets.everything(), *await policies.everything()]
            assert any(sight.version > taken.version for sight in written)
            each_got_one_certificate(written, MANY)


@dataclass
class Copy:
    """A copy of the operator, and the path that records its requests."""

    process: Process
    path: FaultyPath

    def wrote(self, since: float) -> list[Call]:
        """Return its writes since a moment, except for its lease."""
        return [call for call in self._since(since) if call.writes and call.resource != "leases"]

    async def sends(self, name: str) -> None:
        """Wait until it has sent a write of an object."""

        async def sent() -> bool:
            return any(call.path.endswith(f"/{name}") for call in self.wrote(0))

        await until(sent, bool)

    async def arrived(self, name: str) -> int:
        """Wait until its write of an object has arrived; return the API server's status code."""

        async def answers() -> list[int]:
            log = self.path.log
            return [code for call, code in log if call.writes and call.path.endswith(f"/{name}")]

        return (await until(answers, bool))[-1]

    async def is_back(self, since: float) -> None:
        """Wait until it has read its lease several times, and so has seen the other's."""

        async def looks() -> int:
            return sum(call.resource == "leases" for call in self._since(since))

        await until(looks, lambda number: number > 3)

    def _since(self, moment: float) -> list[Call]:
        return [call for call in self.path.asked if call.at >= moment]


@asynccontextmanager
async def two_copies(stage: Stage, directory: Path) -> AsyncIterator[tuple[Copy, Copy]]:
    """Run a leader and a standby, each behind its own path."""
    async with (
        FaultyPath(stage.kubeconfig, directory / "first") as one,
        FaultyPath(stage.kubeconfig, directory / "second") as other,
    ):
        with tied(directory) as tether:
            first = Copy(Process(tether, "first", one.kubeconfig, stage.own), one)
            await first.process.leads()
            second = Copy(Process(tether, "second", other.kubeconfig, stage.own), other)
            await second.process.ready()
            yield first, second


async def wait_for_takeover(stage: Stage, from_: str) -> None:
    """Wait until another copy holds the lease."""
    await until(lambda: holder(stage), lambda name: name != from_)


# Killed, with requests in flight


@pytest.mark.long
async def test_late_certificate_of_a_killed_leader_replaces_none(
    stage: Stage, tmp_path: Path
) -> None:
    await stage.domain()
    async with (
        two_copies(stage, tmp_path) as (first, _),
        Witness(stage.sandbox.kubeconfig, "Secret", stage.shop) as secrets,
    ):
        await stage.pair()
        arrives = asyncio.Event()
        first.path.always("PATCH", "secrets", faults.held(arrives))
        orders = await stage.identity("orders")
        await first.sends("orders-identity")
        first.process.kill()
        await stage.person.ready(IDENTITY, orders)
        arrives.set()
        assert await first.arrived("orders-identity") == 409
        each_got_one_certificate(await secrets.everything(), 3)


@pytest.mark.long
async def test_late_write_of_a_killed_leader_that_opens_a_policy_is_reverted(
    stage: Stage, tmp_path: Path
) -> None:
    """A policy write has no precondition on time, so the API server accepts it late."""
    await stage.domain()
    async with (
        two_copies(stage, tmp_path) as (first, _),
        Witness(stage.sandbox.kubeconfig, "NetworkPolicy", stage.shop) as policies,
    ):
        payments = await stage.identity("payments", ports=["https"])
        web = await stage.identity("web", calls=[builders.call("payments")])
        await stage.person.hears(IDENTITY, web, "PeersAgree", "NotAccepted", "False")
        await stage.person.ready(IDENTITY, payments)
        leader = await holder(stage)
        first.path.log.clear()
        first.path.asked.clear()
        arrives = asyncio.Event()
        first.path.always("PATCH", "networkpolicies", faults.held(arrives))
        await stage.identity("payments", ports=["https"], accepts=[builders.accept("web")])
        await first.sends("payments-troth")
        first.process.kill()
        await stage.identity("payments", ports=["https"])  # accepts nobody any more
        await wait_for_takeover(stage, leader)
        await stage.person.hears(IDENTITY, web, "PeersAgree", "NotAccepted", "False")

        arrives.set()
        assert await first.arrived("payments-troth") == 200
        await stage.person.sees("NetworkPolicy", policy_ref(payments), closed)
        states = [sight for sight in await policies.everything() if sight.name == "payments-troth"]
        assert [closed(state.manifest) for state in states] == [True, False, True]


# Frozen


@pytest.mark.long
async def test_frozen_leader_writes_nothing_after_its_lease_has_expired(
    stage: Stage, tmp_path: Path
) -> None:
    """It still believes in an edge that is withdrawn, and sees the other's closing as drift."""
    await stage.domain()
    async with two_copies(stage, tmp_path) as (first, second):
        payments, web = await stage.pair()
        asleep = await holder(stage)
        first.process.freeze()
        await wait_for_takeover(stage, asleep)
        await stage.identity("payments", ports=["https"])  # accepts nobody any more
        await stage.person.sees("NetworkPolicy", policy_ref(payments), closed)
        await stage.person.hears(IDENTITY, web, "PeersAgree", "NotAccepted", "False")
        before = await stage.written()

        woken = time.monotonic()
        first.process.wake()
        await first.is_back(woken)
        assert first.wrote(woken) == []
        assert await stage.written() == before
        await stage.person.edit("NetworkPolicy", policy_ref(payments), WIDE)
        await stage.person.sees("NetworkPolicy", policy_ref(payments), closed)
        assert first.wrote(woken) == []

        second.process.kill()
        await stage.person.edit("NetworkPolicy", policy_ref(payments), WIDE)
        await stage.person.sees("NetworkPolicy", policy_ref(payments), closed)
        assert first.wrote(woken), "it was awake, and writes as soon as it leads"


async def test_leader_frozen_in_the_middle_of_its_work_does_not_continue_it(
    stage: Stage, tmp_path: Path
) -> None:
    """It checks its lease before it sends anything."""
    await stage.domain()
    async with (
        two_copies(stage, tmp_path) as (first, _),
        Witness(stage.sandbox.kubeconfig, "Secret", stage.shop) as secrets,
    ):
        payments, _ = await stage.pair()
        asleep = await holder(stage)
        declaring = asyncio.create_task(ring(stage))
        await in_the_middle(secrets, stage)
        first.process.freeze()
        await wait_for_takeover(stage, asleep)
        await stage.identity("payments", ports=["https"])
        await stage.person.sees("NetworkPolicy", policy_ref(payments), closed)
        await everything_is_as_declared(stage, await declaring)

        woken = time.monotonic()
        first.process.wake()
        await first.is_back(woken)
        assert first.wrote(woken) == []
        assert not opened(await stage.policy(payments), "ingress")
        each_got_one_certificate(await secrets.everything(), MANY + 2)


async def test_started_write_is_not_sent_after_the_lease_has_expired(
    stage: Stage, tmp_path: Path
) -> None:
    """The last check is right before the send, because a process may resume at any point."""
    at = Ref(stage.shop, "late")
    metadata = {"name": at.name, "namespace": at.namespace}
    manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}
    lease = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": "another", "namespace": stage.own},
    }
    async with FaultyPath(stage.kubeconfig, tmp_path) as path:
        config = await configuration(str(path.kubeconfig))
        async with ApiServer(config) as server:
            server.fence.may_write = lambda: False
            for write in (
                server.create(manifest),
                server.apply(manifest),
                server.merge_patch("ConfigMap", at, {"data": {}}),
                server.json_patch("ConfigMap", at, [{"op": "remove", "path": "/data"}]),
                server.replace(manifest),
                server.delete("ConfigMap", at, "its-uid"),
            ):
                with pytest.raises(ApiError) as refusal:
                    await write
                assert refusal.value.status == 0
            await server.create(lease)
            assert [(call.verb, call.resource) for call in path.asked] == [("POST", "leases")]


# A wrong clock


@pytest.mark.long
async def test_replica_whose_clock_is_ahead_never_leads_and_says_why(
    stage: Stage, tmp_path: Path
) -> None:
    await stage.domain()
    with tied(tmp_path) as tether:
        ahead = Process(tether, "ahead", stage.kubeconfig, stage.own, module="tests.cluster.ahead")
        await ahead.ready()

        async def output() -> str:
            return ahead.output

        await until(output, lambda text: "clock differs from the API server's" in text)
        async with Witness(stage.sandbox.kubeconfig, "Lease", stage.own) as leases:
            right = Process(tether, "right", stage.kubeconfig, stage.own)
            await right.leads()
            ref = await stage.identity("payments", ports=["https"])
            await stage.person.ready(IDENTITY, ref)
            leaf = leaf_of(await stage.secret(ref))
            assert leaf.not_valid_before_utc <= datetime.now(UTC)
            await until(output, lambda text: "standing by" in text)
            right.stop()
            held = [sight.manifest["spec"] for sight in await leases.everything()]
            assert len({each["holderIdentity"] for each in held} - {""}) == 1
            assert not await ahead.leader()
