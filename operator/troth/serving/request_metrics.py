"""A counter and a histogram of requests."""

from prometheus_client import Counter, Histogram

BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
"""Upper bounds of durations in seconds."""


class RequestMetrics:
    """Counts requests by all labels, and records their durations by the first label."""

    def __init__(self, requests: Counter, seconds: Histogram) -> None:
        self._requests = requests
        self._seconds = seconds
        # looking labels up costs more than counting
        self._children: dict[tuple[str, ...], tuple[Counter, Histogram]] = {}

    def observe(self, seconds: float, *labels: str) -> None:
        """Count a request."""
        found = self._children.get(labels)
        if found is None:
            found = self._requests.labels(*labels), self._seconds.labels(labels[0])
            self._children[labels] = found
        counter, histogram = found
        counter.inc()
        histogram.observe(seconds)

    def forget(self, first: str) -> None:
        """Remove the samples with this value of the first label."""
        gone = [labels for labels in self._children if labels[0] == first]
        for labels in gone:
            del self._children[labels]
            self._requests.remove(*labels)
        if gone:
            self._seconds.remove(first)
