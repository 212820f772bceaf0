"""Metrics of several processes as one."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from troth.serving.workers.metrics import Sum, families


def registry(requests: dict[str, int], *, level: float = 0.0) -> CollectorRegistry:
    found = CollectorRegistry()
    counter = Counter("requests", "Requests.", ("path",), registry=found)
    seconds = Histogram("seconds", "Durations.", ("path",), buckets=(1, 10), registry=found)
    Gauge("level", "A level.", registry=found).set(level)
    for path, times in requests.items():
        for duration in range(times):
            counter.labels(path).inc()
            seconds.labels(path).observe(duration)
    return found


def lines(of: Collector) -> set[str]:
    """The exposition without the times at which counters began."""
    text = generate_latest(of).decode().splitlines()
    return {each for each in text if "_created" not in each}


def test_sum_of_one_process_is_its_own_exposition() -> None:
    one = registry({"/a": 3, "/b": 1}, level=2.5)
    assert generate_latest(Sum([families(one)])) == generate_latest(one)


def test_counts_and_buckets_are_added_by_labels() -> None:
    found = [families(registry({"/a": 3})), families(registry({"/a": 12, "/b": 1}))]
    assert lines(Sum(found)) >= {
        'requests_total{path="/a"} 15.0',
        'requests_total{path="/b"} 1.0',
        'seconds_bucket{le="1.0",path="/a"} 4.0',
        'seconds_bucket{le="10.0",path="/a"} 14.0',
        'seconds_bucket{le="+Inf",path="/a"} 15.0',
        'seconds_count{path="/a"} 15.0',
        'seconds_sum{path="/a"} 69.0',
    }


def test_buckets_of_a_label_stay_together_and_in_order() -> None:
    found = [families(registry({"/a": 3})), families(registry({"/b": 1, "/a": 12}))]
    text = generate_latest(Sum(found)).decode().splitlines()
    assert [each.partition(" ")[0] for each in text if each.startswith("seconds_bucket")] == [
        f'seconds_bucket{{le="{le}",path="{path}"}}'
        for path in ("/a", "/b")
        for le in ("1.0", "10.0", "+Inf")
    ]


def test_gauge_is_the_highest_of_all_processes() -> None:
    found = [families(registry({}, level=level)) for level in (2.0, 7.0, 3.0)]
    assert "level 7.0" in lines(Sum(found))


def test_counter_began_when_its_first_process_did() -> None:
    began = []
    parts = [families(registry({"/a": 1})), families(registry({"/a": 1}))]
    for family in (each for part in parts for each in part):
        began += [value for name, _, value in family["samples"] if name == "requests_created"]
    (metric,) = (each for each in Sum(parts[::-1]).collect() if each.name == "requests")
    assert [each.value for each in metric.samples if each.name == "requests_created"] == [
        min(began)
    ]
