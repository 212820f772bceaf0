"""Adds up the metrics of workers.

prometheus_client's own mode for several processes keeps each value in a file. It needs a writable
directory, makes each count dearer, and supports neither removed labels nor computed values. Here
each worker counts as it does alone, and the supervisor adds up the values of one scrape.
"""

import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypedDict

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

_ADDED = frozenset({"counter", "histogram", "summary"})


class Family(TypedDict):
    """A metric as JSON: each sample is its name, labels and value."""

    name: str
    help: str
    type: str
    samples: list[tuple[str, dict[str, str], float]]


Families = list[Family]


def families(registry: Collector) -> Families:
    """Return the metrics of a registry."""
    return [
        {
            "name": family.name,
            "help": family.documentation,
            "type": family.type,
            "samples": [(each.name, each.labels, each.value) for each in family.samples],
        }
        for family in registry.collect()
    ]


class Sum(Collector):
    """The metrics of all workers as one.

    Counters and histograms are added. A gauge has the highest value of any worker: the workers of
    one pod describe the same things.
    """

    def __init__(self, workers: Iterable[Families]) -> None:
        self._workers = workers

    def collect(self) -> Iterator[Metric]:
        """Yield each metric once."""
        found: dict[str, list[Family]] = {}
        for worker in self._workers:
            for family in worker:
                found.setdefault(family["name"], []).append(family)
        for name, parts in found.items():
            metric = Metric(name, parts[0]["help"], parts[0]["type"])
            for (sample, labels), value in _merged(parts).items():
                metric.add_sample(sample, dict(labels), value)
            yield metric


def _merged(parts: Sequence[Family]) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    merged: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
    for family in parts:
        for name, labels, value in family["samples"]:
            key = name, tuple(labels.items())
            merge = _rule(family["type"], name)
            merged[key] = merge(merged[key], value) if key in merged else value
    return merged


def _rule(family: str, sample: str) -> Callable[[Any, Any], float]:
    if family not in _ADDED:
        return max
    return min if sample.endswith("_created") else operator.add
