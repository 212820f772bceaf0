"""Events are handled at least once, and a copy of a handled event is recognised, on both stores."""

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Barrier, Event, Thread

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from valkey.asyncio import Valkey as Client

from sandbox.valkey import ValkeyServer
from tests.patience import PATIENCE
from tests.replay.stores import Away, Clock, both
from tests.virtual_time import run
from tests.webhooks.gateway.running import until
from troth.documents.event_bundles import TOLERANCE
from troth.edge.events.consumption.blocking_duplicates import BlockingClaim, BlockingDuplicates
from troth.edge.events.consumption.duplicates import PREFIX, Claim, Duplicates, Seen, window_of
from troth.replay.memory import Memory
from troth.replay.store import Claimed, Repeated, StoreUnavailableError
from troth.replay.url_file import StoreFile
from troth.replay.valkey import Valkey

WINDOW, GROUP = 3600.0, "fulfilment"
HERE, THERE = "orders/0@7", "orders/1@3"


@dataclass(frozen=True)
class Occurrence:
    """What identifies an event."""

    id: str
    policy: str = "shop/orders"
    topic: str = "prod.orders.v1"
    actor: str = "spiffe://prod.shop.example/ns/shop/sa/checkout"


_numbers = iter(range(10**9))


def new() -> Occurrence:
    return Occurrence(f"event-{next(_numbers)}")


@asynccontextmanager
async def remembering(
    kind: str, server: ValkeyServer, *, group: str = GROUP, lease: float = 30.0
) -> AsyncIterator[Duplicates]:
    store = Memory() if kind == "memory" else Valkey(server.url, prefix=PREFIX)
    duplicates = Duplicates(store, WINDOW, group=group, lease=lease)
    try:
        yield duplicates
    finally:
        await duplicates.close()


async def claimed(duplicates: Duplicates, event: Occurrence, position: str = HERE) -> Claim:
    found = await duplicates.begin(event, position)
    assert isinstance(found, Claim)
    return found


@both
async def test_event_delivered_again_from_its_position_is_no_duplicate(
    kind: str, valkey: ValkeyServer
) -> None:
    """As after a crash between the mark and the commit."""
    async with remembering(kind, valkey) as duplicates:
        event = new()
        await (await claimed(duplicates, event)).done()
        assert await duplicates.begin(event, HERE) is Seen.REDELIVERED
        assert await duplicates.begin(event, THERE) is Seen.DUPLICATE
        assert await duplicates.begin(event, HERE) is Seen.REDELIVERED


@both
async def test_copy_without_a_position_is_a_duplicate(kind: str, valkey: ValkeyServer) -> None:
    async with remembering(kind, valkey) as duplicates:
        event = new()
        await (await claimed(duplicates, event, "")).done()
        assert await duplicates.begin(event, "") is Seen.DUPLICATE
        assert await duplicates.begin(event, HERE) is Seen.DUPLICATE


@both
async def test_event_that_is_being_handled_is_in_flight(kind: str, valkey: ValkeyServer) -> None:
    async with remembering(kind, valkey) as duplicates:
        event = new()
        claim = await claimed(duplicates, event)
        for position in (HERE, THERE):
            assert await duplicates.begin(event, position) is Seen.IN_FLIGHT
        await claim.release()
        await claimed(duplicates, event, THERE)


@both
async def test_mark_can_be_made_twice(kind: str, valkey: ValkeyServer) -> None:
    async with remembering(kind, valkey) as duplicates:
        event = new()
        claim = await claimed(duplicates, event)
        await claim.done()
        await claim.done()
        await claim.release()
        assert await duplicates.begin(event, HERE) is Seen.REDELIVERED


@both
@pytest.mark.parametrize("member", ["id", "policy", "topic", "actor"])
async def test_event_that_differs_in_any_part_is_new(
    member: str, kind: str, valkey: ValkeyServer
) -> None:
    async with remembering(kind, valkey) as duplicates:
        event = new()
        await (await claimed(duplicates, event)).done()
        await claimed(duplicates, replace(event, **{member: "another"}))


async def test_parts_of_an_event_are_not_confused() -> None:
    duplicates = Duplicates(Memory(), WINDOW, group=GROUP)
    await claimed(duplicates, Occurrence("c", policy="a", topic="b"))
    await claimed(duplicates, Occurrence("c", policy="ab", topic=""))
    await claimed(duplicates, Occurrence("", policy="a", topic="b", actor="c"))


async def test_each_group_handles_each_event(valkey: ValkeyServer) -> None:
    async with (
        remembering("valkey", valkey) as one,
        remembering("valkey", valkey, group="packing") as other,
    ):
        event = new()
        await (await claimed(one, event)).done()
        await claimed(other, event)


async def test_events_and_deliveries_do_not_share_keys(valkey: ValkeyServer) -> None:
    async with remembering("valkey", valkey) as duplicates, Client.from_url(valkey.url) as client:
        before = {*await client.keys("troth:event:*")}
        await claimed(duplicates, new())
        assert len({*await client.keys("troth:event:*")} - before) == 1


async def test_one_of_two_consumers_handles_an_event_and_the_other_sees_it(
    valkey: ValkeyServer,
) -> None:
    async with remembering("valkey", valkey) as one, remembering("valkey", valkey) as other:
        for _ in range(20):
            event = new()
            found = await asyncio.gather(one.begin(event, HERE), other.begin(event, THERE))
            (claim,) = (each for each in found if isinstance(each, Claim))
            assert Seen.IN_FLIGHT in found
            await claim.done()
            consumers = [(one, HERE), (other, THERE)]
            if not isinstance(found[0], Claim):
                consumers.reverse()
            (first, its), (second, theirs) = consumers
            assert await first.begin(event, its) is Seen.REDELIVERED
            assert await second.begin(event, theirs) is Seen.DUPLICATE
            assert await second.begin(event, its) is Seen.REDELIVERED, "after a rebalance"


KILLED = """
import asyncio, os, signal, sys
from tests.edge.events.test_duplicates import HERE, Occurrence, Duplicates, PREFIX, Valkey

async def main():
    duplicates = Duplicates(Valkey(sys.argv[1], prefix=PREFIX), 3600, group="fulfilment", lease=1)
    await duplicates.begin(Occurrence(sys.argv[2]), HERE)
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


async def test_event_of_a_killed_consumer_is_handled_once_its_lease_has_ended(
    valkey: ValkeyServer,
) -> None:
    event = new()
    killed = await asyncio.create_subprocess_exec(
        sys.executable, "-c", KILLED, valkey.url, event.id
    )
    assert await killed.wait() < 0
    async with remembering("valkey", valkey) as duplicates:
        again: list[Claim] = []

        async def take() -> None:
            while not again:
                found = await duplicates.begin(event, HERE)
                if isinstance(found, Claim):
                    again.append(found)
                else:
                    assert found is Seen.IN_FLIGHT
                    await asyncio.sleep(0.01)

        taking = asyncio.create_task(take())
        await until(lambda: again)
        await taking
        await again[0].done()
        assert await duplicates.begin(event, HERE) is Seen.REDELIVERED


async def test_unavailable_store_lets_no_event_be_handled_or_committed() -> None:
    store = Away()
    duplicates = Duplicates(store, WINDOW, group=GROUP)
    event = new()
    store.away = True
    with pytest.raises(StoreUnavailableError):
        await duplicates.begin(event, HERE)
    store.away = False
    claim = await claimed(duplicates, event)
    store.away = True
    with pytest.raises(StoreUnavailableError):
        await claim.done()
    await claim.release()
    store.away = False
    await claim.done()
    assert await duplicates.begin(event, HERE) is Seen.REDELIVERED


async def test_full_memory_lets_no_event_be_handled() -> None:
    duplicates = Duplicates(Memory(1), WINDOW, group=GROUP)
    await (await claimed(duplicates, new())).done()
    with pytest.raises(StoreUnavailableError, match="full"):
        await duplicates.begin(new(), HERE)


async def test_mark_that_ends_while_it_is_read_is_no_copy() -> None:
    class Ending(Memory):
        """A store whose marks end just before their value is read."""

        async def value(self, key: bytes) -> bytes | None:
            clock.now += 2 * WINDOW
            await self.claim(b"\0" * 32, 1)
            return await super().value(key)

    clock = Clock()
    duplicates = Duplicates(Ending(clock=clock), WINDOW, group=GROUP)
    event = new()
    await (await claimed(duplicates, event)).done()
    await claimed(duplicates, event)


@pytest.mark.parametrize(("window", "lease"), [(0.0, 1.0), (1.0, 0.0), (-1.0, 1.0)])
def test_empty_window_and_lease_are_rejected(window: float, lease: float) -> None:
    with pytest.raises(ValueError, match="window"):
        Duplicates(Memory(), window, group=GROUP, lease=lease)


def test_window_is_longer_than_an_event_is_accepted() -> None:
    assert window_of(604800.0) == 604800.0 + 2 * TOLERANCE


# A model


@dataclass
class Model:
    """What is true of each event, without a store."""

    now: float = 0.0
    claims: dict[str, tuple[int, float]] = field(default_factory=dict)
    """Number of the claim that holds an event, and its end."""
    marks: dict[str, tuple[str, float]] = field(default_factory=dict)
    """Position from which an event was handled, and the end of its window."""

    def begin(self, event: str, position: str) -> Seen | None:
        self.marks = {name: each for name, each in self.marks.items() if each[1] > self.now}
        self.claims = {name: each for name, each in self.claims.items() if each[1] > self.now}
        if event in self.marks:
            same = self.marks[event][0] == position
            return Seen.REDELIVERED if same else Seen.DUPLICATE
        return Seen.IN_FLIGHT if event in self.claims else None

    def release(self, event: str, number: int) -> None:
        if self.claims.get(event, (None, 0))[0] == number:
            del self.claims[event]

    def done(self, event: str, number: int, position: str) -> None:
        if event in self.claims and self.claims[event][0] != number:
            return
        self.claims.pop(event, None)
        first, _ = self.marks.get(event, (position, 0.0))
        self.marks[event] = first, self.now + 96


Step = tuple[str, str, str] | tuple[str, int]
steps: st.SearchStrategy[Step] = st.one_of(
    st.tuples(st.just("begin"), st.sampled_from("abc"), st.sampled_from([HERE, THERE])),
    st.tuples(st.sampled_from(["done", "release", "crash"]), st.integers(0, 9)),
)
waits: st.SearchStrategy[Step] = st.tuples(st.just("wait"), st.sampled_from([10, 40, 100]))


async def tell(story: list[Step], duplicates: Duplicates, clock: Clock) -> None:
    """Compare each step with the model. Leases are of 35 seconds, and windows of 95."""
    model, held = Model(), list[tuple[int, str, str, Claim]]()
    unique = new().id
    for number, step in enumerate(story):
        match step:
            case ("begin", str(event), str(position)):
                found = await duplicates.begin(Occurrence(unique + event), position)
                expected = model.begin(event, position)
                if isinstance(found, Claim):
                    model.claims[event] = number, model.now + 36
                    held.append((number, event, position, found))
                assert expected is (None if isinstance(found, Claim) else found)
            case ("wait", int(seconds)):
                clock.now += seconds
                model.now += seconds
            case (str(end), int(which)) if held:
                mine, event, position, claim = held.pop(which % len(held))
                model.begin(event, position)  # what has ended is gone
                if end == "release":
                    await claim.release()
                    model.release(event, mine)
                elif end == "done":
                    await claim.done()
                    model.done(event, mine, position)


LATE: list[Step] = [
    *(("begin", "a", HERE), ("wait", 40), ("begin", "a", HERE), ("wait", 40)),
    *(("done", 0), ("begin", "a", HERE)),
]
"""The first consumer is done after its own claim and that of a second one have ended."""


@example(LATE)
@given(st.lists(st.one_of(steps, waits), max_size=40))
def test_every_story_in_memory_ends_as_in_the_model(story: list[Step]) -> None:
    clock = Clock()
    run(tell(story, Duplicates(Memory(clock=clock), 95, group=GROUP, lease=35), clock))


@given(story=st.lists(steps, max_size=30))
def test_every_story_in_valkey_ends_as_in_the_model(
    story: list[Step], valkey: ValkeyServer
) -> None:
    async def told() -> None:
        async with remembering("valkey", valkey) as duplicates:
            await tell(story, duplicates, Clock())

    asyncio.run(told())


# Threads


@contextmanager
def blocking(kind: str, server: ValkeyServer) -> Iterator[BlockingDuplicates]:
    store = Memory() if kind == "memory" else Valkey(server.url, prefix=PREFIX)
    duplicates = BlockingDuplicates(Duplicates(store, WINDOW, group=GROUP))
    try:
        yield duplicates
    finally:
        duplicates.close()


@both
def test_threads_see_what_tasks_see(kind: str, valkey: ValkeyServer) -> None:
    with blocking(kind, valkey) as duplicates:
        event, other = new(), new()
        claim = duplicates.begin(event, HERE)
        assert isinstance(claim, BlockingClaim)
        assert duplicates.begin(event, THERE) is Seen.IN_FLIGHT
        claim.done()
        assert duplicates.begin(event, HERE) is Seen.REDELIVERED
        assert duplicates.begin(event, THERE) is Seen.DUPLICATE
        released = duplicates.begin(other, HERE)
        assert isinstance(released, BlockingClaim)
        released.release()
        assert isinstance(duplicates.begin(other, THERE), BlockingClaim)


@both
def test_one_of_many_threads_handles_an_event(kind: str, valkey: ValkeyServer) -> None:
    with blocking(kind, valkey) as duplicates:
        event, start = new(), Barrier(8)
        found: list[object] = []

        def take(number: int) -> None:
            start.wait()
            found.append(duplicates.begin(event, f"orders/{number}@1"))

        threads = [Thread(target=take, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum(isinstance(each, BlockingClaim) for each in found) == 1
        assert found.count(Seen.IN_FLIGHT) == 7


def test_unavailable_store_raises_in_the_calling_thread() -> None:
    with ValkeyServer.serving() as server, blocking("valkey", server) as duplicates:
        claim = duplicates.begin(new(), HERE)
        assert isinstance(claim, BlockingClaim)
        server.stop(grace=0)
        with pytest.raises(StoreUnavailableError):
            duplicates.begin(new(), HERE)
        with pytest.raises(StoreUnavailableError):
            claim.done()
        claim.release()


def test_closed_memory_of_duplicates_is_unavailable(valkey: ValkeyServer) -> None:
    with blocking("valkey", valkey) as duplicates:
        pass
    with pytest.raises(StoreUnavailableError, match="closed"):
        duplicates.begin(new(), HERE)


def test_url_of_the_store_is_followed_in_the_background(tmp_path: Path) -> None:
    with ValkeyServer.serving() as server, ValkeyServer.serving() as successor:
        (tmp_path / "url").write_text(server.url)
        file = StoreFile(tmp_path / "url", prefix=PREFIX)
        duplicates = BlockingDuplicates(
            Duplicates(file.store, WINDOW, group=GROUP), follow=file.follow
        )
        event = new()
        assert isinstance(duplicates.begin(event, HERE), BlockingClaim)
        (tmp_path / "url").write_text(successor.url)
        asyncio.run(until(lambda: isinstance(duplicates.begin(event, HERE), BlockingClaim)))
        duplicates.close()


class Stuck(Valkey):
    """A store that does not answer the first claim, and closes once `may_close` is set."""

    def __init__(self) -> None:
        super().__init__("redis://127.0.0.1:1", prefix=PREFIX)
        self.claiming, self.closing, self.may_close = Event(), Event(), Event()

    async def claim(self, key: bytes, lease: float) -> Claimed | Repeated:
        if not self.claiming.is_set():
            self.claiming.set()
            await asyncio.Event().wait()
        return await super().claim(key, lease)

    async def close(self) -> None:
        self.closing.set()
        await asyncio.to_thread(self.may_close.wait)
        await super().close()


def test_close_ends_the_calls_of_other_threads() -> None:
    store = Stuck()
    duplicates = BlockingDuplicates(Duplicates(store, WINDOW, group=GROUP))
    with ThreadPoolExecutor() as threads:
        waiting = threads.submit(duplicates.begin, new(), HERE)
        assert store.claiming.wait(PATIENCE)
        closing = threads.submit(duplicates.close)
        assert store.closing.wait(PATIENCE)
        try:
            with pytest.raises(StoreUnavailableError, match="closed"):
                duplicates.begin(new(), HERE)
        finally:
            store.may_close.set()
        closing.result(PATIENCE)
        with pytest.raises(StoreUnavailableError, match="closed"):
            waiting.result(PATIENCE)
    duplicates.close()


def test_claim_is_released_silently_after_close(valkey: ValkeyServer) -> None:
    with blocking("valkey", valkey) as duplicates:
        claim = duplicates.begin(new(), HERE)
    assert isinstance(claim, BlockingClaim)
    claim.release()
    with pytest.raises(StoreUnavailableError, match="closed"):
        claim.done()
