"""The longest stall of the event loop is exported long enough for a scrape."""

import asyncio
import time

from prometheus_client import CollectorRegistry

from troth.serving.loop_stalls import SLOT, SLOTS, LongestStall, stalls_measured

METRIC = "troth_event_loop_longest_stall_seconds"


def test_longest_stall_is_reported_until_it_is_old() -> None:
    longest = LongestStall()
    assert longest.at(0.0) == 0.0
    longest.note(2.0, now=10.0)
    longest.note(1.0, now=SLOT + 10)
    longest.note(0.5, now=SLOT + 11)
    assert longest.at(SLOT + 12) == 2.0
    assert longest.at(SLOTS * SLOT - 1) == 2.0
    assert longest.at(SLOTS * SLOT + 1) == 1.0
    assert longest.at(10 * SLOTS * SLOT) == 0.0


async def test_stall_is_in_the_next_scrape() -> None:
    registry = CollectorRegistry()
    async with stalls_measured(registry):
        await asyncio.sleep(0)
        time.sleep(0.3)  # noqa: ASYNC251 - the stall itself
        at_once = registry.get_sample_value(METRIC)
        await asyncio.sleep(0.1)
        later = registry.get_sample_value(METRIC)
    assert at_once is not None
    assert later is not None
    assert at_once >= 0.2
    assert later >= 0.2
    assert registry.get_sample_value(METRIC) is None, "it ends with the context"
