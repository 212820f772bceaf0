"""At most one replica writes, despite lost, delayed and rejected requests."""

import asyncio
import copy
import itertools
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from tests.builders import Manifest
from tests.cluster_unit.lease_server import REF, SAFE, Fate, LeaseServer, Record, ways
from tests.virtual_time import run
from troth.cluster.api import ApiServer
from troth.cluster.errors import LONGEST, STORE_FULL, ApiError, StoreRestored
from troth.cluster.leases.lease import Leadership, Timing


def candidate(
    server: LeaseServer,
    name: str,
    timing: Timing = SAFE,
    may_lead: Callable[[], bool] = lambda: True,
) -> Leadership:
    monotonic = asyncio.get_running_loop().time
    api = cast("ApiServer", server)
    return Leadership(api, REF, name, timing, monotonic, may_lead=may_lead)


@dataclass
class DenyingServer(LeaseServer):
    """Denies writes of the lease, as admission does, until `allows` is set."""

    allows: bool = False
    denial: ApiError = field(
        default_factory=lambda: ApiError(
            403, "Forbidden", "policy 'guard' denied request:\n" + "x" * 2000
        )
    )

    def _store(self, manifest: Manifest, *, create: bool) -> Manifest:
        if not self.allows:
            raise self.denial
        return super()._store(manifest, create=create)


def test_refused_lease_is_logged_once_with_the_shortened_message() -> None:
    async def story() -> None:
        server = DenyingServer()
        leadership = candidate(server, "first")
        running = asyncio.create_task(leadership.run())
        with capture_logs() as logged:
            await asyncio.sleep(60)
        assert leadership.remaining <= 0
        (line,) = logged
        assert (line["event"], line["status"]) == ("lease not acquired", 403)
        assert line["message"].startswith("policy 'guard' denied request: x")
        assert len(line["message"]) <= LONGEST
        server.allows = True
        await asyncio.sleep(10)
        assert leadership.remaining > 0
        running.cancel()
        await asyncio.wait({running})

    run(story())


@given(ways, ways, st.floats(0, 20), st.integers(0, 2**16))
def test_at_most_one_replica_acts(
    one: list[Fate], other: list[Fate], later: float, seed: int
) -> None:
    random.seed(seed)

    async def story() -> None:
        server = LeaseServer(itertools.chain(one, itertools.repeat(Fate())))
        detour = LeaseServer(itertools.chain(other, itertools.repeat(Fate())), server.record)
        both = [candidate(server, "first"), candidate(detour, "second")]
        tasks = [asyncio.create_task(both[0].run())]
        await asyncio.sleep(later)
        tasks.append(asyncio.create_task(both[1].run()))
        for _ in range(1500):
            assert not all(each.acting for each in both), asyncio.get_running_loop().time()
            await asyncio.sleep(0.13)
        server.fates = detour.fates = itertools.repeat(Fate())
        await asyncio.sleep(100)
        assert sum(each.acting for each in both) == 1, "once all is well, one of them does"
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    run(story())


def test_record_counts_as_seen_from_its_answer_on() -> None:
    """A slow answer may tell of a renewal that is younger than the question."""

    async def story() -> None:
        server = LeaseServer(iter([Fate(), Fate(), Fate(there=12.0), Fate(), Fate(), Fate()]))
        first, second = candidate(server, "first"), candidate(server, "second")
        await first._attempt()
        asking = asyncio.create_task(second._attempt())
        await asyncio.sleep(11.9)
        await first._attempt()
        await asking
        await asyncio.sleep(3.5)
        await second._attempt()
        assert (first.acting, second.acting) == (True, False)

    run(story())


def test_holder_that_cannot_renew_stops_before_its_lease_expires() -> None:
    async def story() -> None:
        lasting = itertools.chain([Fate()] * 2, itertools.repeat(Fate(lost="request")))
        server = LeaseServer(lasting)
        holder = candidate(server, "first")
        task = asyncio.create_task(holder.run())
        await asyncio.sleep(0)
        await holder.gained()
        written_at = asyncio.get_running_loop().time()
        await asyncio.sleep(SAFE.duration - SAFE.margin)
        assert asyncio.get_running_loop().time() < written_at + SAFE.duration
        assert not holder.acting
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    run(story())


def test_lease_counts_from_before_the_renewal_was_sent() -> None:
    async def story() -> None:
        server = LeaseServer(iter([Fate(), Fate(back=3.4)]))
        holder = candidate(server, "first")
        await holder._attempt()
        assert 0 < holder.remaining <= 3.7

    run(story())


HANGS = Fate(there=1000.0)


@pytest.mark.parametrize(
    "hanging", [[HANGS], [Fate(there=8.0)], [Fate(back=1000.0)]], ids=["lost", "late", "unanswered"]
)
@pytest.mark.parametrize("seed", range(5))
def test_request_that_hangs_does_not_cost_the_lease(hanging: list[Fate], seed: int) -> None:
    random.seed(seed)

    async def story() -> None:
        ways = [Fate()] * (3 + seed) + hanging
        holder = candidate(LeaseServer(itertools.chain(ways, itertools.repeat(Fate()))), "first")
        task = asyncio.create_task(holder.run())
        await holder.gained()
        for _ in range(600):
            await asyncio.sleep(0.1)
            assert holder.acting
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    run(story())


def test_request_that_hangs_does_not_delay_a_takeover() -> None:
    """Neither a read nor the acquisition may hang."""

    async def story() -> None:
        record = await held_by("killed")
        waiting = [Fate()] * 5 + [HANGS, Fate(), HANGS]
        server = LeaseServer(itertools.chain(waiting, itertools.repeat(Fate())), record)
        second = candidate(server, "second")
        task = asyncio.create_task(second.run())
        async with asyncio.timeout(SAFE.duration + 2 * SAFE.patience + SAFE.renew_every):
            await second.gained()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    run(story())


@pytest.mark.parametrize("seed", range(20))
def test_standby_takes_over_within_one_lease_and_a_renewal(seed: int) -> None:
    """It may have seen the last renewal late; it does not come late to the end as well."""
    random.seed(seed)

    async def story() -> None:
        server = LeaseServer()
        first, second = candidate(server, "first"), candidate(server, "second")
        holding = asyncio.create_task(first.run())
        waiting = asyncio.create_task(second.run())
        await first.gained()
        await asyncio.sleep(20 + seed / 10)
        holding.cancel()
        server.fates = itertools.chain([Fate(lost="request")], itertools.repeat(Fate()))
        async with asyncio.timeout(SAFE.duration + 1.1 * SAFE.renew_every):
            await second.gained()  # the first was killed and could not give its lease up
        waiting.cancel()
        await asyncio.gather(holding, waiting, return_exceptions=True)

    run(story())


def test_holder_releases_its_lease_when_it_ends() -> None:
    async def story() -> None:
        server = LeaseServer()
        first, second = candidate(server, "first"), candidate(server, "second")
        holding = asyncio.create_task(first.run())
        await asyncio.sleep(1)
        held = first.acting
        holding.cancel()
        await asyncio.gather(holding, return_exceptions=True)
        assert (held, first.acting) == (True, False)
        await second._attempt()
        assert second.acting

    run(story())


SLOW_THERE, SLOW_BACK = Fate(there=0.5), Fate(back=0.5)
LOST_REQUEST, LOST_ANSWER = Fate(lost="request"), Fate(lost="answer")
CREATION = (Fate(), Fate())  # a read that finds no lease, and the creation
READ = Fate()


async def stopped(leadership: Leadership, after: float) -> None:
    """Run a candidate for some seconds, and return when it has stopped."""
    task = asyncio.create_task(leadership.run())
    await asyncio.sleep(after)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def held_by(name: str) -> Record:
    """Return the record of a lease whose holder was killed."""
    server = LeaseServer()
    await candidate(server, name)._attempt()
    return server.record


def holder_in(record: Record) -> str:
    assert record.lease is not None
    return str(record.lease["spec"]["holderIdentity"])


@pytest.mark.parametrize(
    ("ways", "after"),
    [
        ((READ, SLOW_THERE), 0.2),
        ((READ, SLOW_BACK), 0.2),
        ((*CREATION, SLOW_THERE), 2.3),
        ((*CREATION, SLOW_BACK), 2.3),
        ((*CREATION, Fate(there=0.5, lost="answer")), 2.3),
        ((*CREATION, LOST_ANSWER), 3.0),
        ((*CREATION, LOST_REQUEST), 3.0),
        ((*CREATION, LOST_REQUEST, SLOW_THERE), 4.3),
        ((*CREATION, LOST_REQUEST), 1.0),
        ((*CREATION, LOST_ANSWER, LOST_REQUEST), 1.0),
        ((READ, LOST_ANSWER), 1.0),
        (CREATION, 1.0),
    ],
    ids=[
        "a creation is on its way",
        "a creation's answer is on its way",
        "a renewal is on its way",
        "a renewal's answer is on its way",
        "a renewal is on its way and its answer gets lost",
        "a renewal's answer was lost",
        "a renewal was lost",
        "a read after a lost renewal is on its way",
        "the release is lost",
        "the release's answer is lost, and the read after it",
        "a creation's answer was lost",
        "nothing is on its way",
    ],
)
def test_stop_releases_the_lease(
    ways: tuple[Fate, ...], after: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("random.uniform", lambda *_: 1.0)

    async def story() -> None:
        server = LeaseServer(itertools.chain(ways, itertools.repeat(Fate())))
        await stopped(candidate(server, "first"), after)
        await asyncio.sleep(1)
        assert holder_in(server.record) == ""

    run(story())


@pytest.mark.parametrize("way", [SLOW_THERE, SLOW_BACK], ids=["write", "answer"])
def test_stop_releases_a_lease_whose_acquisition_is_in_flight(
    way: Fate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("random.uniform", lambda *_: 1.0)

    async def story() -> None:
        record = await held_by("killed")
        reads = round(SAFE.duration / SAFE.renew_every) + 1
        server = LeaseServer(itertools.chain([READ] * reads, [way], itertools.repeat(READ)), record)
        await stopped(candidate(server, "second"), SAFE.duration + 0.2)
        await asyncio.sleep(1)
        assert record.writes > 1, "the acquisition was sent"
        assert holder_in(record) == ""

    run(story())


@given(ways, ways, st.floats(0, 40), st.floats(0, 40), st.integers(0, 2**16))
def test_stop_never_releases_the_lease_of_another_holder(
    one: list[Fate], other: list[Fate], later: float, stop: float, seed: int
) -> None:
    random.seed(seed)

    async def story() -> None:
        server = LeaseServer(itertools.chain(one, itertools.repeat(Fate())))
        detour = LeaseServer(itertools.chain(other, itertools.repeat(Fate())), server.record)
        first, second = candidate(server, "first"), candidate(detour, "second")
        stopping = asyncio.create_task(stopped(first, stop))
        await asyncio.sleep(later)
        lasting = asyncio.create_task(second.run())
        await stopping
        await second.gained()
        detour.fates = itertools.repeat(Fate())
        for _ in range(500):  # a request of the first may be on its way for 20 s
            await asyncio.sleep(0.1)
            if second.acting:
                assert holder_in(server.record) == "second"
        assert second.acting
        lasting.cancel()
        await asyncio.gather(lasting, return_exceptions=True)

    run(story())


@pytest.mark.parametrize("seed", range(20))
def test_stop_at_any_time_lets_another_replica_take_over_at_once(seed: int) -> None:
    """Every request takes a tenth of a second each way, as on a busy API server."""
    random.seed(seed)

    async def story() -> None:
        server = LeaseServer(itertools.repeat(Fate(there=0.1, back=0.1)))
        await stopped(candidate(server, "first"), 0.3 + random.uniform(0, 10))
        assert holder_in(server.record) == ""

    run(story())


def test_stop_takes_at_most_the_duration_of_the_lease() -> None:
    async def story() -> None:
        server = LeaseServer(itertools.chain(CREATION, itertools.repeat(Fate(there=1000.0))))
        await stopped(candidate(server, "first"), 3.0)
        assert asyncio.get_running_loop().time() <= 2.2 + SAFE.duration

    run(story())


def test_candidate_that_never_wrote_stops_without_a_request() -> None:
    async def story() -> None:
        record = await held_by("first")
        server = LeaseServer(iter([READ]), record)
        await stopped(candidate(server, "second"), 1.0)
        assert holder_in(record) == "first"

    run(story())


def test_holder_sends_one_write_and_no_read_for_each_renewal() -> None:
    async def story() -> None:
        server = LeaseServer()
        asked = 0

        def counted() -> Iterator[Fate]:
            nonlocal asked
            while True:
                asked += 1
                yield Fate()

        server.fates = counted()
        task = asyncio.create_task(candidate(server, "first").run())
        await asyncio.sleep(60)
        assert 27 <= server.record.writes <= 34
        assert asked == server.record.writes + 1
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    run(story())


def test_lease_counts_its_transitions() -> None:
    async def story() -> None:
        server = LeaseServer()
        for name in ("first", "second", "first"):
            holder = candidate(server, name)
            await holder._attempt()
            assert holder.acting
            await holder._release()
        assert server.record.lease is not None
        spec: dict[str, Any] = server.record.lease["spec"]
        assert spec["leaseTransitions"] == 3
        assert spec["holderIdentity"] == ""

    run(story())


async def notices_restore(task: asyncio.Task[None]) -> None:
    """Wait until a replica ends because the API server's store was restored."""
    await asyncio.wait({task}, timeout=60)
    with pytest.raises(StoreRestored):
        task.result()


@pytest.mark.parametrize("lease", ["older", "gone"])
@pytest.mark.parametrize("leads", [True, False], ids=["leader", "standby"])
def test_lease_that_goes_back_shows_a_restored_store(lease: str, *, leads: bool) -> None:
    """The replica stops acting, and neither writes nor releases the lease of the past."""

    async def story() -> None:
        servers = LeaseServer(), LeaseServer()
        servers[1].record = servers[0].record
        replicas = [candidate(each, name) for each, name in zip(servers, "ab", strict=True)]
        tasks = [asyncio.create_task(replicas[0].run())]
        await replicas[0].gained()
        snapshot = copy.deepcopy(servers[0].record)
        tasks.append(asyncio.create_task(replicas[1].run()))
        await asyncio.sleep(30)
        servers[leads].record = Record()  # the other does not reach the restored store
        if lease == "gone":
            snapshot.lease = None
        server, past = servers[not leads], copy.deepcopy(snapshot.lease)
        server.record = snapshot
        await notices_restore(tasks[not leads])
        assert not replicas[not leads].acting
        assert past is None or server.record.lease == past
        tasks[leads].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    run(story())


def test_lease_that_is_gone_counts_as_a_restored_store() -> None:
    """A snapshot from before the lease may have been overtaken, so that no version is lower."""

    async def story() -> None:
        server = LeaseServer()
        first = candidate(server, "first")
        task = asyncio.create_task(first.run())
        await first.gained()
        server.record.version += 1000
        server.record.lease = None
        await notices_restore(task)
        assert not first.acting
        assert server.record.lease is None

    run(story())


def test_leader_notices_a_restored_store_at_its_next_renewal() -> None:
    """It acts for as long as its lease lasts, so it must not read the lease later than at once."""

    async def story() -> None:
        server = LeaseServer()
        first = candidate(server, "first")
        task = asyncio.create_task(first.run())
        await first.gained()
        snapshot = copy.deepcopy(server.record)
        await asyncio.sleep(30)
        server.record = snapshot
        noticed = asyncio.get_running_loop().time() + 1.1 * SAFE.renew_every
        await notices_restore(task)
        assert asyncio.get_running_loop().time() <= noticed

    run(story())


def test_cause_without_a_reason_is_logged_by_its_status() -> None:
    """A proxy can answer with a status that HTTP does not define."""

    async def story() -> None:
        server = DenyingServer(denial=ApiError(520, "", ""))
        task = asyncio.create_task(candidate(server, "first").run())
        with capture_logs() as logs:
            await asyncio.sleep(60)
            server.denial = ApiError(521, "", "")
            await asyncio.sleep(60)
        assert [(each["event"], each["status"]) for each in logs] == [
            ("lease not acquired", 520),
            ("lease not acquired", 521),
        ]
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    run(story())


def test_cause_without_a_lease_is_logged_once() -> None:
    async def story() -> None:
        server = LeaseServer()
        first = candidate(server, "first")
        task = asyncio.create_task(first.run())
        await first.gained()
        for _ in range(2):
            with capture_logs() as logs:
                server.full = True
                await asyncio.sleep(60)
                assert not first.acting
                server.full = False
                await first.gained()
                await asyncio.sleep(10)
            assert [(each["event"], each.get("reason")) for each in logs] == [
                ("lease not acquired", STORE_FULL),
                ("lease lost", None),
                ("leading", None),
            ]
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    run(story())


def test_standby_logs_each_outage_once() -> None:
    async def story() -> None:
        server, detour = LeaseServer(), LeaseServer()
        detour.record = server.record
        first, second = candidate(server, "first"), candidate(detour, "second")
        tasks = [asyncio.create_task(first.run())]
        await first.gained()
        tasks.append(asyncio.create_task(second.run()))
        await asyncio.sleep(10)
        for _ in range(2):
            with capture_logs() as logs:
                detour.fates = itertools.repeat(Fate(lost="request"))
                await asyncio.sleep(60)
                detour.fates = itertools.repeat(Fate())
                await asyncio.sleep(10)
            assert [each["event"] for each in logs] == ["lease not acquired"]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    run(story())


def test_lost_request_does_not_end_the_election() -> None:
    async def story() -> None:
        server = LeaseServer(iter([Fate(lost="request"), Fate(), Fate()]))
        holder = candidate(server, "first")
        await holder._attempt()
        refused = not holder.acting
        await holder._attempt()
        assert (refused, holder.acting) == (True, True)

    run(story())


def test_replica_with_a_wrong_clock_neither_makes_nor_acquires_the_lease() -> None:
    async def story() -> None:
        server = LeaseServer()
        wrong = candidate(server, "wrong", may_lead=lambda: False)
        running = asyncio.create_task(wrong.run())
        await asyncio.sleep(3 * SAFE.duration)
        assert server.record.writes == 0
        await stopped(candidate(server, "right"), 3.0)
        await asyncio.sleep(3 * SAFE.duration)
        assert holder_in(server.record) == ""
        assert not wrong.acting
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    run(story())


def test_holder_whose_clock_becomes_wrong_stops_at_once_and_another_takes_over() -> None:
    async def story() -> None:
        server, right = LeaseServer(), [True]
        first = candidate(server, "first", may_lead=lambda: right[0])
        second = candidate(server, "second")
        with capture_logs() as logs:
            running = [asyncio.create_task(first.run())]
            await first.gained()
            running.append(asyncio.create_task(second.run()))
            await asyncio.sleep(SAFE.renew_every)
            right[0] = False
            assert not first.acting
            await second.gained()
            assert holder_in(server.record) == "second"
            assert not first.acting
            right[0] = True
            await asyncio.sleep(3 * SAFE.duration)
            assert second.acting
            assert not first.acting
        for each in running:
            each.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        told = [(each["event"], each.get("identity") or each.get("leader")) for each in logs]
        assert told == [
            ("leading", "first"),
            ("standing by", "first"),
            ("lease lost", "first"),
            ("leading", "second"),
            ("standing by", "second"),
        ]

    run(story())
