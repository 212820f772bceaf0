"""Request metrics: counted by all labels, timed by the first; a forgotten label has no sample."""

from prometheus_client import CollectorRegistry, Counter, Histogram

from troth.serving.request_metrics import BUCKETS, RequestMetrics


def test_requests_are_counted_and_a_forgotten_label_leaves_no_sample() -> None:
    registry = CollectorRegistry()
    metrics = RequestMetrics(
        Counter("requests", "-", ("endpoint", "status"), registry=registry),
        Histogram("seconds", "-", ("endpoint",), buckets=BUCKETS, registry=registry),
    )
    for endpoint, status in (("a", "200"), ("a", "200"), ("a", "503"), ("b", "200")):
        metrics.observe(0.003, endpoint, status)
    found = registry.get_sample_value
    assert found("requests_total", {"endpoint": "a", "status": "200"}) == 2
    assert found("seconds_count", {"endpoint": "a"}) == 3
    assert found("seconds_bucket", {"endpoint": "a", "le": "0.005"}) == 3
    metrics.forget("a")
    metrics.forget("never-seen")
    left = {sample.labels["endpoint"] for each in registry.collect() for sample in each.samples}
    assert left == {"b"}
    metrics.observe(0.003, "a", "200")
    assert found("requests_total", {"endpoint": "a", "status": "200"}) == 1
