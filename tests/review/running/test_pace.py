"""Redrives keep to their rate, whatever the clock does."""

import pytest

from troth.review.running.pace import TokenBucket, per_second, together


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds


@pytest.mark.parametrize(
    ("rate", "batch"), [("50/s", 50), ("1/h", 1), ("90/m", 1), ("600/m", 10), ("99999/s", 256)]
)
def test_batch_is_what_the_rate_allows_in_a_second(rate: str, batch: int) -> None:
    assert together(rate) == batch


@pytest.mark.parametrize("rate", ["50/s", "7/m", "3/h", "2000/s"])
async def test_letters_are_never_faster_than_the_rate(rate: str) -> None:
    clock = Clock()
    bucket = TokenBucket(rate, monotonic=clock.monotonic, sleep=clock.sleep)
    batch, taken = together(rate), 0
    for _ in range(40):
        await bucket.take(batch)
        taken += batch
        assert taken <= max(1, per_second(rate)) + per_second(rate) * clock.now + 1e-6
    assert clock.now


async def test_pause_gives_no_more_than_one_second_of_letters() -> None:
    clock = Clock()
    bucket = TokenBucket("10/s", monotonic=clock.monotonic, sleep=clock.sleep)
    clock.now = 3600.0
    for _ in range(3):
        await bucket.take(10)
    assert clock.now == pytest.approx(3602.0)


async def test_clock_that_goes_back_neither_stops_nor_speeds_up_redrives() -> None:
    clock = Clock()
    bucket = TokenBucket("10/s", monotonic=clock.monotonic, sleep=clock.sleep)
    await bucket.take(10)
    clock.now = -50.0
    await bucket.take(10)
    assert clock.now == pytest.approx(-49.0)


async def test_wait_for_a_slow_rate_ends_within_a_second_of_a_stop() -> None:
    clock = Clock()
    bucket = TokenBucket("1/h", monotonic=clock.monotonic, sleep=clock.sleep)
    await bucket.take(1)
    await bucket.take(1, lambda: clock.now >= 10)
    assert clock.now <= 11
    await bucket.take(1)
    assert clock.now == pytest.approx(3600.0)
