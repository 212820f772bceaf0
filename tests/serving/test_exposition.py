"""A large scrape is the library's text, and the event loop runs meanwhile."""

import asyncio

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import generate_latest

from troth.serving.exposition import AT_ONCE, exposition


def registry(samples: int) -> CollectorRegistry:
    """A registry with metrics of each type, and a gauge with so many samples."""
    made = CollectorRegistry()
    Gauge("bare", "One value.", registry=made).set(0.5)
    gauge = Gauge("large", "A value for\neach \\ name.", ("name",), registry=made)
    for each in range(samples):
        gauge.labels(f'"{each}"\n').set(each)
    counter = Counter("requests", "Requests.", ("code",), registry=made)
    histogram = Histogram("seconds", "Durations.", ("code",), registry=made)
    for each in range(AT_ONCE + 1):
        counter.labels(each).inc()
    for each in range(100):
        histogram.labels(each).observe(each)
    return made


async def test_text_is_that_of_the_library() -> None:
    for samples in (0, 1, AT_ONCE, AT_ONCE + 1, 2 * AT_ONCE, 2 * AT_ONCE + 7):
        made = registry(samples)
        assert await exposition(made) == generate_latest(made)


async def test_other_tasks_run_meanwhile() -> None:
    scrape = asyncio.create_task(exposition(registry(10 * AT_ONCE)))
    turns = 0
    while not scrape.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns > 10
