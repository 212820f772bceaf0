"""Metrics of dead letters. All labels have few values: policies of this worker, and fixed names."""

from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry
from prometheus_client import Counter as MetricCounter
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from troth.edge.events.rejection import Reason, Rejection
from troth.resources.references import Ref
from troth.review.index.feeder import Feeder
from troth.review.index.portion import UNREADABLE
from troth.review.index.store import LetterIndex


class LetterMetrics(Collector):
    """Exports what the index has, when the metrics are read."""

    def __init__(
        self,
        registry: CollectorRegistry,
        index: LetterIndex,
        feeders: Callable[[], Iterable[Feeder]],
    ) -> None:
        """Register it. `feeders` returns those of the policies that the worker serves now."""
        self._index = index
        self._feeders = feeders
        self._unreadable = MetricCounter(
            "troth_dead_letters_unreadable",
            "Messages on a dead-letter topic that are no valid dead letter, by what is wrong.",
            ("policy", "reason"),
            registry=registry,
        )
        registry.register(self)

    def describe(self) -> Iterable[Metric]:
        """Return nothing, so that registration reads no file."""
        return ()

    def unreadable(self, policy: Ref) -> Callable[[Rejection], None]:
        """Return what counts the unreadable messages of a policy, for its feeder."""
        counters = {each: self._unreadable.labels(str(policy), each.value) for each in Reason}
        return lambda rejection: counters[rejection.reason].inc()

    def forget(self, policy: Ref) -> None:
        """Remove the counters of a policy that the worker serves no more."""
        for each in Reason:
            self._unreadable.remove(str(policy), each.value)

    def collect(self) -> Iterator[Metric]:
        """Return the samples."""
        feeders = list(self._feeders())
        served = {each.policy for each in feeders}
        letters = GaugeMetricFamily(
            "troth_dead_letters",
            "Dead letters in the index, by reason and state.",
            labels=("policy", "reason", "state"),
        )
        for each in self._index.tallies():
            if each.policy in served and each.state != UNREADABLE:
                letters.add_metric((str(each.policy), each.reason, each.state), each.count)
        yield letters
        oldest = GaugeMetricFamily(
            "troth_dead_letters_oldest_timestamp_seconds",
            "Time of the oldest dead letter without a decision.",
            labels=("policy",),
        )
        lag = GaugeMetricFamily(
            "troth_dead_letters_lag",
            "Messages on the dead-letter topic that are not in the index yet.",
            labels=("policy",),
        )
        up = GaugeMetricFamily(
            "troth_dead_letters_topic_readable",
            "1 if the dead-letter topic can be read, 0 if not.",
            labels=("policy",),
        )
        for feeder in feeders:
            labels = (str(feeder.policy),)
            moment = self._index.counts(feeder.policy).oldest
            if moment is not None:
                oldest.add_metric(labels, moment.timestamp())
            lag.add_metric(labels, feeder.lag)
            up.add_metric(labels, feeder.fault is None)
        yield from (oldest, lag, up)
