"""The claim of one installation to act in a cluster, against a Lease in virtual time."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import cast

from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from tests import virtual_time
from tests.cluster_unit.lease_server import SAFE, Fate, LeaseServer, Record, ways
from troth.cluster.api import ApiServer
from troth.cluster.leases.claim import CLAIM, Claim
from troth.cluster.leases.lease import renew_time

START = datetime(2026, 12, 1, tzinfo=UTC)
FIRST, SECOND = "troth-system", "troth-test"


def claim(
    record: Record,
    namespace: str,
    fates: list[Fate] | None = None,
    is_gone: Callable[[str], bool] = lambda _: False,
) -> Claim:
    server = LeaseServer(record=record, ref=CLAIM)
    if fates:
        server.fates = iter([*fates, *1000 * [Fate()]])
    loop = asyncio.get_running_loop()
    return Claim(
        cast("ApiServer", server),
        namespace,
        SAFE,
        is_gone=is_gone,
        monotonic=loop.time,
        now=lambda: START + timedelta(seconds=loop.time()),
    )


def held_by(namespace: str, **spec: str) -> Record:
    metadata = {"name": CLAIM.name, "namespace": CLAIM.namespace, "resourceVersion": "1"}
    return Record({"metadata": metadata, "spec": {"holderIdentity": namespace, **spec}}, 1)


@given(ways, ways, st.lists(st.floats(0, 30), max_size=4), st.floats(0, 20))
def test_two_installations_never_have_the_claim_at_once(
    first: list[Fate], second: list[Fate], deletions: list[float], later: float
) -> None:
    """Whatever happens to their requests, and even if somebody deletes the Lease."""

    async def story() -> None:
        record = Record()
        claims = [claim(record, FIRST, first), claim(record, SECOND, second)]
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(claims[0].run())]
            for pause in (later, *deletions):
                await watched(claims, pause)
                if len(running) == 1:
                    running.append(tasks.create_task(claims[1].run()))
                else:
                    record.lease = None
            await watched(claims, 200)
            assert sum(each.holds for each in claims) == 1
            assert sum(bool(each.obstacle) for each in claims) == 1
            for each in running:
                each.cancel()

    virtual_time.run(story())


async def watched(claims: list[Claim], seconds: float) -> None:
    """Let time pass, and check at each step that one claim at most holds."""
    for _ in range(int(seconds * 5) + 1):
        assert sum(each.holds for each in claims) <= 1
        await asyncio.sleep(0.2)


def holds(one: Claim) -> bool:
    return one.holds


def test_restart_of_the_owner_acts_at_once_and_another_installation_says_who_acts() -> None:
    async def story() -> None:
        record = held_by(FIRST, acquireTime=renew_time(START - timedelta(days=1)))
        again, other = claim(record, FIRST), claim(record, SECOND)
        with capture_logs() as logs:
            tasks = [asyncio.create_task(each.run()) for each in (again, other)]
            await asyncio.sleep(100)
        assert holds(again)
        assert again.obstacle == ""
        assert not holds(other)
        assert other.obstacle == (
            "another operator in the namespace troth-system runs Troth in this cluster and has its "
            "claim; uninstall this one, or uninstall that one and delete the Lease "
            "kube-public/troth-claim"
        )
        assert [(each["log_level"], each["namespace"]) for each in logs] == [
            ("info", FIRST),
            ("error", FIRST),
        ]
        assert record.writes == 0
        for task in tasks:
            task.cancel()

    virtual_time.run(story())


def test_installation_whose_namespace_is_gone_is_replaced() -> None:
    async def story() -> None:
        gone: set[str] = set()
        record = held_by(FIRST)
        other = claim(record, SECOND, is_gone=gone.__contains__)
        task = asyncio.create_task(other.run())
        await asyncio.sleep(100)
        assert not holds(other)
        gone.add(FIRST)
        await asyncio.sleep(SAFE.renew_every * 2 + SAFE.duration)
        assert holds(other)
        task.cancel()

    virtual_time.run(story())


def test_replica_that_finds_a_young_claim_of_its_installation_waits_too() -> None:
    """The earlier owner may not have noticed yet that it has lost the claim."""

    async def story() -> None:
        record = held_by(FIRST, acquireTime=renew_time(START))
        replica = claim(record, FIRST)
        task = asyncio.create_task(replica.run())
        await asyncio.sleep(SAFE.duration - 1)
        assert not holds(replica)
        assert replica.is_own
        await asyncio.sleep(2)
        assert holds(replica)
        task.cancel()

    virtual_time.run(story())


def test_claim_that_cannot_be_read_ends() -> None:
    async def story() -> None:
        one = claim(held_by(FIRST), FIRST, [Fate(), *100 * [Fate(lost="request")]])
        task = asyncio.create_task(one.run())
        await asyncio.sleep(1)
        assert holds(one)
        await asyncio.sleep(SAFE.duration - SAFE.margin)
        assert not holds(one)
        task.cancel()

    virtual_time.run(story())
