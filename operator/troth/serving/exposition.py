"""Prometheus' text format, written without blocking the event loop for long."""

import asyncio
from collections.abc import Iterator, Sequence

from prometheus_client.core import Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

AT_ONCE = 1000
"""Maximum number of a gauge's samples that are written before other tasks run."""


async def exposition(collector: Collector) -> bytes:
    """Return a collector's metrics as text. Other tasks run meanwhile, also within large metrics.

    The samples of one metric are of the same moment; those of two metrics are not.
    """
    text: list[bytes] = []
    for metric in collector.collect():
        for begin, samples in _parts(metric):
            part = generate_latest(_Part(metric, samples))
            text.append(part if begin == 0 else _without_header(part))
            await asyncio.sleep(0)
    return b"".join(text)


def _parts(metric: Metric) -> Iterator[tuple[int, Sequence[Sample]]]:
    """Yield a metric's samples in parts, each with its first index."""
    samples = metric.samples
    if metric.type != "gauge":  # the library writes some samples of other types at the end
        yield 0, samples
        return
    for begin in range(0, max(len(samples), 1), AT_ONCE):
        yield begin, samples[begin : begin + AT_ONCE]


def _without_header(text: bytes) -> bytes:
    return text.split(b"\n", 2)[2]


class _Part(Collector):
    """A metric with a part of its samples."""

    def __init__(self, metric: Metric, samples: Sequence[Sample]) -> None:
        self._part = Metric(metric.name, metric.documentation, metric.type)
        self._part.samples = list(samples)

    def collect(self) -> Iterator[Metric]:
        yield self._part
