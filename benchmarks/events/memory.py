"""Memory of a process that seals and opens a million different events."""

import os
import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from time import time

from benchmarks.events.trade import Trade, order, seal
from benchmarks.harness.cores import resident
from benchmarks.harness.report import Figure, Report
from troth.edge.events.bindings import kafka
from troth.edge.events.event import Event

EVENTS = 1_000_000
PER_SECOND = 100
"""Events in each second of the trade's clock, so that times do not repeat for long."""
FLAT = 0.02
"""Maximum share by which memory grows in the second half."""
NOTE = (
    "One process seals each event, writes and reads its Kafka headers, and opens it. Each has an "
    "ID and a request of its own, there are 5,000 subjects and 100 tenants, and the clock advances "
    "by a second for 100 events."
)


def reports() -> Iterator[Report]:
    """Measure in this process."""
    with tempfile.TemporaryDirectory() as directory:
        yield _report(Trade.make(Path(directory)))


def _report(trade: Trade) -> Report:
    start, ticks = time(), count()

    def clock() -> float:
        return start + next(ticks) // (2 * PER_SECOND)

    sealer, opener = trade.sealer(clock=clock), trade.opener(clock=clock)
    held = [resident(os.getpid())]
    for number in range(EVENTS):
        sealed = seal(sealer, trade, order(number))
        record = [(name, bytes(bytearray(value))) for name, value in kafka.headers(sealed)]
        assert isinstance(opener.open(kafka.read(sealed.topic, record, sealed.data)), Event)
        if number % (EVENTS // 10) == EVENTS // 10 - 1:
            held.append(resident(os.getpid()))
    figures = [
        Figure(f"after {part * EVENTS // 10:,} events", each, "MB")
        for part, each in enumerate(held)
    ]
    growth = Figure("growth in the second half", held[-1] - held[5], "MB", FLAT * held[5])
    return Report(f"Events: memory over {EVENTS:,}", (), NOTE, [*figures, growth])
