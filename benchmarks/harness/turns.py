"""Times of Troth and of a floor, measured in turns under the same conditions."""

import time
from collections.abc import Awaitable, Callable, Iterable

from benchmarks.harness.report import Comparison

Turn = Callable[[], Iterable[float]]
"""One turn of a side; returns the seconds of each operation."""


def compare(
    what: str, rounds: int, prepare: Callable[[], tuple[Turn, Turn]], aim: float | None = None
) -> Comparison:
    """Measure Troth and the floor in turns: in each round, the floor runs before and after Troth.

    `prepare` returns the turns of both sides for one round, Troth's first.
    """
    troths: list[float] = []
    floors: list[float] = []
    for _ in range(rounds):
        troth, floor = prepare()
        floors += floor()
        troths += troth()
        floors += floor()
    return Comparison(what, troths, floors, aim)


def each_timed(calls: Iterable[Callable[[], object]]) -> list[float]:
    """Return the seconds of each call."""
    times = []
    for call in calls:
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return times


async def timed(work: Callable[[], Awaitable[object]]) -> float:
    """Return the seconds that `work` takes."""
    began = time.perf_counter()
    await work()
    return time.perf_counter() - began
