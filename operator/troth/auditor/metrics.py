"""Metrics of the auditor."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence

from prometheus_client import CollectorRegistry, Gauge, Histogram
from prometheus_client import Counter as MetricCounter
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from troth.audit.evaluation import Evaluation, severity_of
from troth.audit.finding import Cause
from troth.audit.rule import Rule

NO_API = "none"
"""Value of the label `api` if the API server serves no API of reports."""


class Metrics:
    """The metrics of one process."""

    def __init__(
        self, registry: CollectorRegistry, rules: tuple[Rule, ...], apis: tuple[str, ...]
    ) -> None:
        """`apis` are the API versions of reports that the auditor can write."""
        self.registry = registry
        self._rules = rules
        self._findings = Gauge(
            "troth_findings",
            "Findings without an exception, by rule and severity.",
            ("rule", "severity"),
            registry=self.registry,
        )
        self._unseen = Gauge(
            "troth_audit_unseen",
            "Reasons why a rule could not see everything that it needs.",
            ("rule", "reason"),
            registry=self.registry,
        )
        self._blind = Gauge(
            "troth_audit_connections_unseen",
            "Nodes and logs of agents whose connections could not be read.",
            registry=self.registry,
        )
        self._reports = Gauge(
            "troth_audit_report_api",
            "1 for the API of reports that the auditor writes.",
            ("api",),
            registry=self.registry,
        )
        self._apis = (*apis, NO_API)
        self._evaluations = Histogram(
            "troth_audit_evaluation_seconds",
            "Duration of an evaluation of rules.",
            ("scope",),
            buckets=(0.01, 0.05, 0.1, 0.5, 1, 2, 5, 10, 30),
            registry=self.registry,
        )
        self._last = Gauge(
            "troth_audit_last_evaluation_timestamp_seconds",
            "When the last evaluation ended; 0 before the first.",
            registry=self.registry,
        )
        self._failures = MetricCounter(
            "troth_audit_write_failures",
            "Failed writes of reports, statuses and Events.",
            ("kind",),
            registry=self.registry,
        )
        self._kinds_of_findings = {(rule.id, rule.severity.value) for rule in rules}
        """Rules and severities that are exported, also while there is no such finding."""
        for rule in rules:
            self._findings.labels(rule.id, rule.severity.value)
            for cause in Cause:
                self._unseen.labels(rule.id, cause.value)

    def evaluated(self, evaluation: Evaluation, *, whole: bool, seconds: float, at: float) -> None:
        """Export the result of an evaluation that ended at a time."""
        found = Counter((each.rule, severity_of(each).value) for each in evaluation.findings)
        self._kinds_of_findings |= found.keys()
        for labels in self._kinds_of_findings:
            self._findings.labels(*labels).set(found[labels])
        blind = Counter((each.rule, each.cause) for each in evaluation.unseen)
        for rule in self._rules:
            for cause in Cause:
                self._unseen.labels(rule.id, cause.value).set(blind[rule.id, cause])
        self._evaluations.labels("All" if whole else "Changed").observe(seconds)
        self._last.set(at)

    def watched(self, blind: Sequence[str]) -> None:
        """Export how many nodes and logs of agents could not be read."""
        self._blind.set(len(blind))

    def reports_to(self, api: str) -> None:
        """Export which API of reports is written, `NO_API` for none."""
        for each in self._apis:
            self._reports.labels(each).set(each == api)

    def write_failed(self, kind: str) -> None:
        """Count a failed write."""
        self._failures.labels(kind).inc()

    def read_objects(self, counts: Callable[[], Mapping[str, int]]) -> None:
        """Export the number of known objects at each scrape."""
        self.registry.register(_Objects(counts))


class _Objects(Collector):
    def __init__(self, counts: Callable[[], Mapping[str, int]]) -> None:
        self._counts = counts

    def collect(self) -> Iterator[Metric]:
        family = GaugeMetricFamily(
            "troth_audit_objects", "Objects that the auditor knows, by kind.", labels=("kind",)
        )
        for kind, number in sorted(self._counts().items()):
            family.add_metric((kind,), number)
        yield family
