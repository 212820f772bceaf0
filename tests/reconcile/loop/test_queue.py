"""The work queue: unique keys, one worker per key, growing backoff, and due times."""

import asyncio
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from tests.builders import DAY, HOUR, NOW, key_of
from tests.virtual_time import run
from troth.reconcile.loop.queue import MANY, WorkQueue
from troth.reconcile.runtime.clock import MovableClock
from troth.resources.references import Ref
from troth.world.keys import Key, broker_key, view_key

A, B, C = (key_of(name) for name in "abc")


def queue() -> tuple[WorkQueue, MovableClock]:
    clock = MovableClock(NOW)
    return WorkQueue(clock), clock


async def next_key(work: WorkQueue, within: float = 0.001) -> Key | None:
    try:
        async with asyncio.timeout(within):
            return await work.get()
    except TimeoutError:
        return None


def test_key_added_twice_is_processed_once() -> None:
    async def story() -> None:
        work, _ = queue()
        work.add([A, B, A])
        assert [await next_key(work) for _ in range(3)] == [A, B, None]

    run(story())


def test_key_is_never_processed_twice_at_once_and_never_forgotten() -> None:
    async def story() -> None:
        work, _ = queue()
        work.add([A])
        assert await next_key(work) == A
        work.add([A])
        work.add([A])
        assert await next_key(work) is None
        work.done(A, None)
        assert await next_key(work) == A
        work.done(A, None)
        assert await next_key(work) is None
        assert len(work) == 0

    run(story())


def test_broker_goes_first_among_keys_added_together() -> None:
    async def story() -> None:
        work, _ = queue()
        broker = broker_key(Ref("messaging", "main"))
        work.add([A])
        work.add([B, broker, C])
        assert [await next_key(work) for _ in range(4)] == [A, broker, B, C]

    run(story())


def test_changed_object_goes_before_its_peers_and_after_brokers() -> None:
    async def story() -> None:
        work, _ = queue()
        broker = broker_key(Ref("shop", "events"))
        work.add([A, B, broker, C], changed=C)
        assert [await next_key(work) for _ in range(4)] == [broker, C, A, B]

    run(story())


def test_failed_key_returns_with_growing_delays() -> None:
    async def story() -> None:
        work, _ = queue()
        work.add([A])
        time = asyncio.get_running_loop().time
        waits = []
        for _ in range(12):
            before = time()
            assert await work.get() == A
            waits.append(time() - before)
            work.retry(A)
        assert waits[0] == 0
        assert 0.1 <= waits[1] <= 0.2
        assert all(30 <= wait <= 60 for wait in waits[10:])

    run(story())


def test_success_resets_the_backoff() -> None:
    async def story() -> None:
        work, _ = queue()
        work.add([A])
        for _ in range(8):
            await work.get()
            work.retry(A)
        await work.get()
        work.done(A, None)
        work.add([A])
        await work.get()
        work.retry(A)
        assert await next_key(work, within=0.25) == A

    run(story())


def test_change_returns_a_failed_key_at_once_and_only_once() -> None:
    async def story() -> None:
        work, _ = queue()
        work.add([A])
        for _ in range(6):
            await work.get()
            work.retry(A)
        work.add([A])
        assert await next_key(work) == A
        work.done(A, None)
        assert await next_key(work, within=300) is None

    run(story())


def test_change_during_a_failing_run_waits_for_the_retry() -> None:
    async def story() -> None:
        work, _ = queue()
        work.add([A])
        await work.get()
        work.add([A])
        work.retry(A)
        assert await next_key(work, within=0.05) is None
        assert await next_key(work, within=0.3) == A
        work.done(A, None)
        assert await next_key(work, within=300) is None

    run(story())


def test_settled_waits_for_queued_and_processed_keys() -> None:
    async def story() -> None:
        work, _ = queue()
        await work.settled()
        work.add([A, B])
        waiting = asyncio.create_task(work.settled())
        for _ in range(2):
            key = await work.get()
            await asyncio.sleep(0)
            assert not waiting.done()
            work.done(key, None)
        await asyncio.wait_for(waiting, 1)

    run(story())


# Due keys


def test_key_returns_when_it_is_due() -> None:
    async def story() -> None:
        work, clock = queue()
        running = asyncio.create_task(work.run_due())
        work.add([A])
        await work.get()
        work.done(A, NOW + HOUR)
        assert await next_key(work) is None
        await clock.move_to(NOW + HOUR - timedelta(seconds=1))
        assert await next_key(work) is None
        await clock.move_to(NOW + HOUR)
        assert await next_key(work) == A
        running.cancel()

    run(story())


def test_due_time_is_replaced_by_an_earlier_or_a_later_one() -> None:
    async def story() -> None:
        work, clock = queue()
        running = asyncio.create_task(work.run_due())
        work.done(A, NOW + DAY)
        await asyncio.sleep(0)
        work.done(B, NOW + HOUR)
        await asyncio.sleep(0)
        await clock.move_to(NOW + 2 * HOUR)
        assert await next_key(work) == B
        work.done(B, None)
        work.done(A, NOW + 2 * DAY)
        await clock.move_to(NOW + DAY)
        assert await next_key(work) is None
        await clock.move_to(NOW + 2 * DAY)
        assert await next_key(work) == A
        running.cancel()

    run(story())


def test_replaced_due_times_are_not_kept_until_they_pass() -> None:
    async def story() -> None:
        work, clock = queue()
        for number in range(50 * MANY):
            work.done(A, NOW + 365 * DAY + number * HOUR)
            work.done(B, NOW + DAY)
        assert max(len(work._by_clock), len(work._by_uptime)) <= 2 * MANY
        running = asyncio.create_task(work.run_due())
        await clock.move_to(NOW + DAY)
        assert await next_key(work) == B
        await clock.move_to(NOW + 365 * DAY + 50 * MANY * HOUR)
        assert await next_key(work) == A
        running.cancel()

    run(story())


def test_held_key_counts_as_waiting_until_it_is_added_or_due() -> None:
    async def story() -> None:
        work, clock = queue()
        running = asyncio.create_task(work.run_due())
        work.add([A, B])
        for _ in range(2):
            work.hold(await work.get(), NOW + HOUR)
        assert len(work) == 2
        assert await next_key(work) is None
        work.add([A])
        assert await next_key(work) == A
        work.done(A, None)
        await clock.move_to(NOW + HOUR)
        assert await next_key(work) == B
        work.done(B, None)
        assert len(work) == 0
        running.cancel()

    run(story())


def test_key_without_a_due_time_does_not_return() -> None:
    async def story() -> None:
        work, clock = queue()
        running = asyncio.create_task(work.run_due())
        work.done(A, NOW + HOUR)
        work.done(A, None)
        await clock.move_to(NOW + DAY)
        assert await next_key(work) is None
        running.cancel()

    run(story())


def test_clock_set_back_delays_and_loses_no_key() -> None:
    async def story() -> None:
        work, clock = queue()
        running = asyncio.create_task(work.run_due())
        work.done(A, NOW + HOUR)
        await clock.jump_to(NOW - DAY)
        await asyncio.sleep(0)
        work.done(B, NOW - DAY + 2 * HOUR)
        await clock.move_to(NOW - DAY + HOUR - timedelta(seconds=1))
        assert await next_key(work) is None
        await clock.move_to(NOW - DAY + HOUR)
        assert await next_key(work) == A
        work.done(A, NOW + HOUR)  # as for a key that was processed too early
        await clock.move_to(NOW - DAY + 2 * HOUR)
        assert await next_key(work) == B
        assert await next_key(work) is None
        await clock.jump_to(NOW + HOUR)
        assert await next_key(work) == A
        running.cancel()

    run(story())


moves = st.one_of(
    st.tuples(st.just("due"), st.sampled_from((A, B, C)), st.integers(0, 50)),
    st.tuples(st.just("clear"), st.sampled_from((A, B, C)), st.just(0)),
    st.tuples(st.just("move"), st.just(A), st.integers(-20, 60)),
)


@given(st.lists(moves, max_size=25))
def test_exactly_the_keys_past_due_by_either_clock_return(
    steps: list[tuple[str, Key, int]],
) -> None:
    async def story() -> None:
        work, clock = queue()
        running = asyncio.create_task(work.run_due())
        due: dict[Key, tuple[int, int]] = {}
        moment = uptime = 0
        for what, key, number in steps:
            match what:
                case "due":
                    if key not in due or due[key][0] != number:
                        due[key] = number, uptime + number - moment
                    work.done(key, NOW + timedelta(minutes=number))
                case "clear":
                    due.pop(key, None)
                    work.done(key, None)
                case _:
                    uptime += max(number - moment, 0)
                    moment = number
                    await clock.move_to(NOW + timedelta(minutes=number))
            expected = {
                each for each, (at, lived) in due.items() if at <= moment or lived <= uptime
            }
            found = set()
            while (ready := await next_key(work)) is not None:
                found.add(ready)
                work.done(ready, None)
            assert found == expected
            for each in expected:
                del due[each]
        running.cancel()

    run(story())


def test_change_that_the_worker_already_has_does_not_return_the_key() -> None:
    async def story() -> None:
        work, _ = queue()
        work.add([A])
        assert await next_key(work) == A
        work.add([A])
        work.caught_up(A)
        work.done(A, None)
        assert await next_key(work) is None

        work.add([A])
        assert await next_key(work) == A
        work.caught_up(A)
        work.add([A])
        work.done(A, None)
        assert await next_key(work) == A

    run(story())


def test_issuer_view_goes_before_all_others() -> None:
    async def story() -> None:
        work, _ = queue()
        work.add([A, B])
        work.add([view_key("production"), C])
        assert await next_key(work) == view_key("production")
        assert [await next_key(work) for _ in range(3)] == [A, B, C]

    run(story())


def test_wait_of_a_key_ends_when_a_worker_takes_it() -> None:
    async def story() -> None:
        clock, waits = MovableClock(NOW), list[tuple[str, float]]()
        work = WorkQueue(clock, lambda kind, waited: waits.append((kind, waited)))
        assert work.oldest_wait == 0
        work.add([A])
        await clock.move_to(NOW + timedelta(seconds=3))
        work.add([A, B])  # A keeps its place
        assert work.oldest_wait == 3
        await clock.move_to(NOW + timedelta(seconds=5))
        assert [await next_key(work), await next_key(work)] == [A, B]
        assert waits == [(A.kind, 5), (B.kind, 2)]
        assert work.oldest_wait == 0
        work.retry(A)  # a key in backoff waits for no worker
        assert work.oldest_wait == 0

    run(story())


def test_time_on_a_standby_is_no_wait() -> None:
    async def story() -> None:
        clock, waits = MovableClock(NOW), list[float]()
        work = WorkQueue(clock, lambda _, waited: waits.append(waited))
        work.add([A])
        await clock.move_to(NOW + HOUR)
        work.count_waits_from_now()
        await clock.move_to(NOW + HOUR + timedelta(seconds=1))
        assert work.oldest_wait == 1
        await next_key(work)
        assert waits == [1]

    run(story())


def test_key_that_workers_do_not_take_is_put_aside_until_they_do() -> None:
    async def story() -> None:
        taken = {A}
        work = WorkQueue(MovableClock(NOW), takes=lambda key: key in taken)
        work.add([B, A])
        assert [await next_key(work) for _ in range(2)] == [A, None]
        work.done(A, None)
        assert len(work) == 0, "a key that is put aside does not wait for a worker"
        work.add([B])
        assert await next_key(work) is None
        work.resume()
        assert await next_key(work) is None
        taken.add(B)
        work.resume()
        assert [await next_key(work) for _ in range(2)] == [B, None]

    run(story())
