"""Each shard has at most one writer, despite lost, delayed and rejected requests."""

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import Manifest
from tests.cluster_unit.lease_server import REF, SAFE, Fate, LeaseServer, Record, ways
from tests.virtual_time import run
from troth.cluster.api import ApiServer
from troth.cluster.errors import StoreRestored
from troth.cluster.leases.lease import Leadership, Timing
from troth.cluster.leases.shard_assignment import OWNER
from troth.cluster.leases.shard_lease import ShardLeadership
from troth.resources.references import Ref

SHARDS = 4
LONG = Timing(duration=60, renew_every=12, margin=18)
Acting = Callable[[], frozenset[int]]


@dataclass
class Replica:
    """A replica, its reports of the shards that it has, and those in which it still works."""

    leadership: ShardLeadership
    server: LeaseServer
    reported: list[frozenset[int]]
    busy: set[int]
    task: asyncio.Task[None] | None = None

    @property
    def acting(self) -> frozenset[int]:
        """The shards whose keys it may write."""
        fences = enumerate(self.leadership.fences)
        return frozenset(shard for shard, fence in fences if fence.remaining > 0)

    def start(self) -> None:
        self.leadership.join()
        self.task = asyncio.create_task(self.leadership.run())

    async def stop(self) -> None:
        assert self.task is not None
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    async def vanish(self) -> None:
        """End without a release, as after SIGKILL."""
        self.server.fates = itertools.repeat(Fate(lost="request"))
        await self.stop()


@dataclass
class Cluster:
    record: Record = field(default_factory=Record)
    replicas: list[Replica] = field(default_factory=list)

    def replica(
        self,
        name: str,
        shards: int = SHARDS,
        fates: list[Fate] | None = None,
        may_lead: Callable[[], bool] = lambda: True,
        timing: Timing = SAFE,
    ) -> Replica:
        server = LeaseServer(itertools.chain(fates or (), itertools.repeat(Fate())), self.record)
        reported: list[frozenset[int]] = []
        busy: set[int] = set()
        leadership = ShardLeadership(
            cast("ApiServer", server),
            REF,
            name,
            timing,
            asyncio.get_running_loop().time,
            shards=shards,
            may_lead=may_lead,
            is_idle=lambda shard: shard not in busy,
            on_change=reported.append,
        )
        made = Replica(leadership, server, reported, busy)
        self.replicas.append(made)
        return made

    def check(self) -> None:
        """Assert that no shard has two writers."""
        acting = [shard for each in self.replicas for shard in each.acting]
        assert len(acting) == len(set(acting)), asyncio.get_running_loop().time()

    async def passes(self, seconds: float) -> None:
        end = asyncio.get_running_loop().time() + seconds
        while asyncio.get_running_loop().time() < end:
            self.check()
            await asyncio.sleep(0.13)

    async def end(self) -> None:
        for each in self.replicas:
            if each.task is not None:
                await each.stop()


def story(test: Callable[[Cluster], object]) -> None:
    async def running() -> None:
        cluster = Cluster()
        try:
            await test(cluster)  # type: ignore[misc]
        finally:
            await cluster.end()

    run(running())


def sizes(*replicas: Replica) -> list[int]:
    return sorted(len(each.acting) for each in replicas)


def annotations_by_prefix(cluster: Cluster) -> Counter[str]:
    """Return the number of annotations of the Lease by their prefix."""
    assert cluster.record.lease is not None
    names = cluster.record.lease["metadata"]["annotations"]
    return Counter(name[: name.index("/") + 1] for name in names)


def test_single_replica_has_every_shard() -> None:
    async def test(cluster: Cluster) -> None:
        one = cluster.replica("one")
        one.start()
        await cluster.passes(30)
        assert one.acting == one.leadership.held == set(range(SHARDS))
        assert one.reported == [frozenset(range(SHARDS))]

    story(test)


def test_replica_that_has_not_joined_takes_nothing_and_asks_nothing() -> None:
    async def test(cluster: Cluster) -> None:
        one = cluster.replica("one", fates=[])
        one.server.fates = iter(())  # a request would fail
        one.task = asyncio.create_task(one.leadership.run())
        await cluster.passes(30)
        assert not one.acting

    story(test)


@pytest.mark.parametrize(("count", "expected"), [(2, [2, 2]), (3, [1, 1, 2]), (5, [0, 1, 1, 1, 1])])
def test_replicas_share_the_shards_evenly(count: int, expected: list[int]) -> None:
    async def test(cluster: Cluster) -> None:
        for number in range(count):
            cluster.replica(f"replica-{number}").start()
            await cluster.passes(3)
        await cluster.passes(20)
        assert sizes(*cluster.replicas) == expected
        assert frozenset().union(*(each.acting for each in cluster.replicas)) == set(range(SHARDS))
        for each in cluster.replicas:
            each.reported.clear()
        await cluster.passes(300)
        assert not any(each.reported for each in cluster.replicas), "shards stay where they are"

    story(test)


def test_shard_is_handed_over_only_when_its_work_has_ended() -> None:
    async def test(cluster: Cluster) -> None:
        one, other = cluster.replica("one"), cluster.replica("other")
        one.start()
        await cluster.passes(5)
        one.busy.update((2, 3))
        other.start()
        await cluster.passes(30)
        assert not other.acting
        assert one.acting == {0, 1, 2, 3}, "writes under way may end"
        assert one.leadership.held == {0, 1}, "no work begins in a shard that is handed over"
        one.busy.clear()
        await cluster.passes(5)
        assert one.acting == {0, 1}
        assert other.acting == {2, 3}
        assert one.reported == [{0, 1, 2, 3}, {0, 1}, {0, 1}], "again after the handover"
        assert other.reported == [{2, 3}]

    story(test)


@pytest.mark.parametrize("fate", [Fate(back=3.0), Fate(back=9.0), Fate(lost="answer")])
def test_replica_gives_a_shard_up_before_it_hears_of_the_handover(fate: Fate) -> None:
    async def test(cluster: Cluster) -> None:
        one, other = cluster.replica("one"), cluster.replica("other")
        one.start()
        await cluster.passes(5)
        one.server.fates = itertools.chain(
            itertools.islice(itertools.cycle([Fate(), fate]), 8), itertools.repeat(Fate())
        )
        other.start()
        await cluster.passes(60)
        assert sizes(one, other) == [2, 2]

    story(test)


def test_handover_leaves_a_shard_without_a_writer_for_less_than_a_second() -> None:
    async def test(cluster: Cluster) -> None:
        one, other = cluster.replica("one"), cluster.replica("other")
        one.start()
        await cluster.passes(5)
        other.start()
        alone = 0.0
        while sizes(one, other) != [2, 2]:
            cluster.check()
            alone += 0.01 * (len(one.acting | other.acting) < SHARDS)
            await asyncio.sleep(0.01)
        assert alone < 1

    story(test)


def test_first_shard_is_never_handed_over() -> None:
    async def test(cluster: Cluster) -> None:
        one = cluster.replica("one")
        one.start()
        await cluster.passes(5)
        for number in range(5):
            cluster.replica(f"other-{number}").start()
            await cluster.passes(10)
            assert 0 in one.acting

    story(test)


def test_remaining_replicas_take_over_from_one_that_vanished() -> None:
    async def test(cluster: Cluster) -> None:
        replicas = [cluster.replica(f"replica-{number}") for number in range(3)]
        for each in replicas:
            each.start()
        await cluster.passes(20)
        await replicas[0].vanish()
        await cluster.passes(SAFE.duration + 2 * SAFE.renew_every + 1)
        assert sizes(*replicas) == [0, 2, 2]
        annotations = cluster.record.lease["metadata"]["annotations"]  # type: ignore[index]
        assert sum(name.startswith("replica.") for name in annotations) == 2, "nobody's is left"

    story(test)


def test_owner_that_is_cut_off_stops_before_its_shards_are_taken() -> None:
    async def test(cluster: Cluster) -> None:
        one, other = cluster.replica("one"), cluster.replica("other")
        for each in (one, other):
            each.start()
        await cluster.passes(20)
        one.server.fates = itertools.repeat(Fate(lost="request"))
        await cluster.passes(30)
        assert other.acting == set(range(SHARDS))

    story(test)


@dataclass
class SlowClaims(LeaseServer):
    """Keeps changes of the assignment until `resume` is set, also if their sender gives up."""

    claimed: asyncio.Event = field(default_factory=asyncio.Event)
    resume: asyncio.Event = field(default_factory=asyncio.Event)

    async def merge_patch(self, kind: str, ref: Ref, patch: Manifest) -> Manifest:
        sent = asyncio.create_task(self._delayed(kind, ref, patch))
        return await asyncio.shield(sent)

    async def _delayed(self, kind: str, ref: Ref, patch: Manifest) -> Manifest:
        if any(name.startswith(OWNER) for name in patch["metadata"]["annotations"]):
            self.claimed.set()
            await self.resume.wait()
        return await super().merge_patch(kind, ref, patch)


def test_takeover_that_arrives_after_a_renewal_of_the_owner_is_rejected() -> None:
    async def test(cluster: Cluster) -> None:
        one, other = cluster.replica("one"), cluster.replica("other")
        for each in (one, other):
            each.start()
        await cluster.passes(20)
        slow = SlowClaims(record=cluster.record)
        other.leadership._server = cast("ApiServer", slow)
        one.server.fates = itertools.repeat(Fate(lost="request"))
        while not slow.claimed.is_set():
            await cluster.passes(0.1)
        one.server.fates = itertools.repeat(Fate())
        while not one.acting:
            await cluster.passes(0.1)
        slow.resume.set()
        await cluster.passes(30)
        assert sizes(one, other) == [2, 2]

    story(test)


def test_replica_that_stops_hands_its_shards_over_at_once() -> None:
    async def test(cluster: Cluster) -> None:
        replicas = [cluster.replica(f"replica-{number}") for number in range(3)]
        for each in replicas:
            each.start()
        await cluster.passes(20)
        await replicas[0].stop()
        await cluster.passes(1.2 * SAFE.renew_every)
        assert sizes(*replicas) == [0, 2, 2]

    story(test)


def test_replica_that_was_cut_off_and_stops_does_not_release_the_lease_of_others() -> None:
    async def test(cluster: Cluster) -> None:
        one, other = cluster.replica("one"), cluster.replica("other")
        for each in (one, other):
            each.start()
        await cluster.passes(20)
        cluster.replica("new", 3).start()
        one.server.fates = itertools.repeat(Fate(lost="request"))
        await cluster.passes(1.5 * SAFE.duration)
        slow = Fate(there=0.4)
        one.server.fates = itertools.chain([Fate()], itertools.repeat(slow))
        while one.leadership._writing is None or one.leadership._writing.done():
            await cluster.passes(0.1)
        await one.stop()
        assert cluster.record.lease is not None
        assert cluster.record.lease["spec"]["holderIdentity"] == "4 shards, 10s"
        await cluster.passes(20)
        assert other.acting == set(range(SHARDS))

    story(test)


def test_last_replica_releases_the_lease() -> None:
    async def test(cluster: Cluster) -> None:
        replicas = [cluster.replica(name) for name in "ab"]
        for each in replicas:
            each.start()
        await cluster.passes(20)
        for each in replicas:
            await each.stop()
        assert cluster.record.lease is not None
        assert cluster.record.lease["spec"]["holderIdentity"] == ""
        assert cluster.record.lease["metadata"]["annotations"] == {}

    story(test)


def test_replicas_that_stop_together_release_the_lease() -> None:
    async def test(cluster: Cluster) -> None:
        replicas = [cluster.replica(name) for name in "abc"]
        for each in replicas:
            each.start()
        await cluster.passes(20)
        await asyncio.gather(*(each.stop() for each in replicas))
        assert cluster.record.lease is not None
        assert cluster.record.lease["spec"]["holderIdentity"] == ""

    story(test)


def test_renewal_is_one_request_every_two_seconds() -> None:
    async def test(cluster: Cluster) -> None:
        replicas = [cluster.replica(name) for name in "ab"]
        for each in replicas:
            each.start()
        await cluster.passes(20)
        asked = 0

        def counted() -> Iterator[Fate]:
            nonlocal asked
            while True:
                asked += 1
                yield Fate()

        replicas[0].server.fates = counted()
        await cluster.passes(60)
        assert 27 <= asked <= 34

    story(test)


def test_replica_whose_clock_becomes_wrong_stops_at_once() -> None:
    async def test(cluster: Cluster) -> None:
        right = [True]
        one = cluster.replica("one", may_lead=lambda: right[0])
        other = cluster.replica("other")
        for each in (one, other):
            each.start()
        await cluster.passes(20)
        right[0] = False
        assert not one.acting
        await cluster.passes(SAFE.duration + 2 * SAFE.renew_every + 1)
        assert other.acting == set(range(SHARDS))
        right[0] = True
        await cluster.passes(20)
        assert sizes(one, other) == [2, 2]

    story(test)


def test_replica_that_was_cut_off_for_a_moment_reports_its_shards_again() -> None:
    """Keys that came meanwhile were put aside."""

    async def test(cluster: Cluster) -> None:
        one = cluster.replica("one")
        one.start()
        await cluster.passes(20)
        one.reported.clear()
        one.server.fates = itertools.repeat(Fate(lost="request"))
        await cluster.passes(SAFE.duration)
        one.server.fates = itertools.repeat(Fate())
        await cluster.passes(5)
        assert one.reported == [frozenset(), frozenset(range(SHARDS))]

    story(test)


@pytest.mark.parametrize("lease", ["older", "gone"])
def test_lease_that_goes_back_shows_a_restored_store(lease: str) -> None:
    async def test(cluster: Cluster) -> None:
        one = cluster.replica("one")
        one.start()
        await cluster.passes(20)
        if lease == "gone":
            cluster.record.lease = None
        else:
            cluster.record.version -= 5
            assert cluster.record.lease is not None
            cluster.record.lease["metadata"]["resourceVersion"] = str(cluster.record.version)
        assert one.task is not None
        await asyncio.wait({one.task}, timeout=60)
        with pytest.raises(StoreRestored):
            one.task.result()
        assert not one.acting
        one.task = None

    story(test)


# Layouts


def test_replicas_of_another_number_of_shards_wait_for_the_last_one() -> None:
    async def test(cluster: Cluster) -> None:
        old = [cluster.replica(f"old-{number}", 2) for number in range(2)]
        new = [cluster.replica(f"new-{number}", 3) for number in range(2)]
        for each in old:
            each.start()
        await cluster.passes(20)
        for each in new:
            each.start()
        await cluster.passes(60)
        assert sizes(*old, *new) == [0, 0, 1, 1]
        assert [each.leadership.shares_lease for each in (*old, *new)] == [True, True, False, False]
        await old[0].stop()
        await cluster.passes(20)
        assert old[1].acting == {0, 1}
        await old[1].stop()
        await cluster.passes(10)
        assert sizes(*new) == [1, 2]
        assert all(each.leadership.shares_lease for each in new)
        assert cluster.record.lease is not None
        assert cluster.record.lease["spec"]["holderIdentity"] == "3 shards, 10s"

    story(test)


@pytest.mark.parametrize("longer", [False, True], ids=["shorter", "longer"])
def test_replica_of_another_lease_duration_waits_for_the_last_one(longer: bool) -> None:
    async def test(cluster: Cluster) -> None:
        before, after = (SAFE, LONG) if longer else (LONG, SAFE)
        old, new = cluster.replica("old", timing=before), cluster.replica("new", timing=after)
        old.start()
        await cluster.passes(5)
        new.start()
        await cluster.passes(150)
        assert old.acting == set(range(SHARDS))
        assert not new.acting
        await old.stop()
        await cluster.passes(LONG.renew_every * 1.2)
        assert new.acting == set(range(SHARDS))

    story(test)


@pytest.mark.parametrize("first", ["alone", "sharded"])
def test_replica_without_shards_and_replicas_with_them_wait_for_each_other(first: str) -> None:
    async def test(cluster: Cluster) -> None:
        sharded = cluster.replica("sharded")
        server = LeaseServer(record=cluster.record)
        clock = asyncio.get_running_loop().time
        alone = Leadership(cast("ApiServer", server), REF, "alone", SAFE, clock)

        def start_alone() -> asyncio.Task[None]:
            return asyncio.create_task(alone.run())

        if first == "alone":
            running = start_alone()
            await cluster.passes(10)
            sharded.start()
            await cluster.passes(60)
            assert (alone.acting, sharded.acting) == (True, frozenset())
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await cluster.passes(5)
            assert sharded.acting == set(range(SHARDS))
        else:
            sharded.start()
            await cluster.passes(10)
            running = start_alone()
            await cluster.passes(60)
            assert (alone.acting, len(sharded.acting)) == (False, SHARDS)
            await sharded.stop()
            await cluster.passes(5)
            assert alone.acting
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    story(test)


def test_replica_that_was_paused_for_long_does_not_disturb_another_layout() -> None:
    """Its renewal, sent late, is no renewal of the layout that has the Lease now."""

    async def test(cluster: Cluster) -> None:
        old, new = cluster.replica("old", 2), cluster.replica("new", 3)
        old.start()
        await cluster.passes(10)
        old.server.fates = itertools.repeat(Fate(there=40))
        new.start()
        await cluster.passes(30)
        assert new.acting == {0, 1, 2}
        new.reported.clear()
        await cluster.passes(30)
        old.server.fates = itertools.repeat(Fate())
        await cluster.passes(60)
        assert not old.acting
        assert not old.leadership.shares_lease
        assert new.acting == {0, 1, 2}
        assert not new.reported, "nothing is handed to it"
        assert annotations_by_prefix(cluster) == {"replica.troth.dev/": 1, "shard.troth.dev/": 3}

    story(test)


# Every interleaving

Layout = tuple[int, Timing]
SLOWER = Timing(duration=15, renew_every=3, margin=4.5)
layouts_of_replicas: st.SearchStrategy[Layout] = st.sampled_from(
    ((2, SAFE), (2, SAFE), (2, SAFE), (2, SLOWER), (3, SAFE))
)


@given(
    st.lists(st.tuples(ways, st.floats(0, 20), layouts_of_replicas), min_size=2, max_size=3),
    st.lists(st.integers(0, 8), max_size=8),
    st.integers(0, 2**16),
)
def test_no_shard_has_two_writers(
    replicas: list[tuple[list[Fate], float, Layout]], stops: list[int], seed: int
) -> None:
    random.seed(seed)

    async def test(cluster: Cluster) -> None:
        layouts: dict[Layout, list[Replica]] = {}
        for number, (fates, later, layout) in enumerate(replicas):
            shards, timing = layout
            each = cluster.replica(f"replica-{number}", shards, fates, timing=timing)
            layouts.setdefault(layout, []).append(each)
            each.start()
            await _apart(cluster, layouts, later)
        for stop in stops:
            each = cluster.replicas[stop % len(replicas)]
            match stop % 3:
                case 0:
                    each.busy.add(stop % 2)
                case 1:
                    each.busy.clear()
                case _:
                    await each.stop()
                    each.start()
            await _apart(cluster, layouts, 10)
        await _apart(cluster, layouts, 100)
        for each in cluster.replicas:
            each.busy.clear()
            each.server.fates = itertools.repeat(Fate())
        await _apart(cluster, layouts, 150)
        having = [each for each in layouts.values() if any(one.acting for one in each)]
        assert len(having) == 1, "once all is well, one layout acts"
        (acting,) = having
        assert frozenset().union(*(each.acting for each in acting)) == set(
            range(len(acting[0].leadership.fences))
        )
        assert max(sizes(*acting)) - min(sizes(*acting)) <= 1

    story(test)


async def _apart(cluster: Cluster, layouts: dict[Layout, list[Replica]], seconds: float) -> None:
    """Let time pass, and assert that each shard has one writer, and all are of one layout."""
    end = asyncio.get_running_loop().time() + seconds
    while asyncio.get_running_loop().time() < end:
        acting = [layout for layout, each in layouts.items() if any(one.acting for one in each)]
        assert len(acting) <= 1
        for each in layouts.values():
            shards = [shard for one in each for shard in one.acting]
            assert len(shards) == len(set(shards))
        await asyncio.sleep(0.13)
