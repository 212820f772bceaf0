"""Prometheus metrics: counted as things happen, or read from the world when scraped."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Histogram
from prometheus_client import Counter as MetricCounter
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from troth.reconcile.engine import Tally
from troth.reconcile.operator import Operator
from troth.resources.conditions import Condition


@dataclass(slots=True)
class Metrics:
    """The metrics of one process."""

    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    requests: MetricCounter = field(init=False)
    reconciles: Histogram = field(init=False)

    def __post_init__(self) -> None:
        self.requests = MetricCounter(
            "troth_api_requests",
            "Requests to the API server.",
            ("verb", "resource", "code"),
            registry=self.registry,
        )
        self.reconciles = Histogram(
            "troth_reconcile_duration_seconds",
            "How long visits to a resource took.",
            ("kind", "outcome"),
            registry=self.registry,
        )

    def request(self, verb: str, resource: str, code: str) -> None:
        """Count a request."""
        self.requests.labels(verb, resource, code).inc()

    def tally(self) -> Tally:
        """Return what the engine reports its visits to."""
        return Tally(
            visited=lambda kind, outcome, seconds: self.reconciles.labels(kind, outcome).observe(
                seconds
            )
        )

    def read_from(self, operator: Operator) -> None:
        """Have the operator's world read at every scrape."""
        self.registry.register(_WorldCollector(operator))


class _WorldCollector(Collector):
    def __init__(self, operator: Operator) -> None:
        self._operator = operator

    def collect(self) -> Iterator[Metric]:
        engine, leadership = self._operator.engine, self._operator.leadership
        yield GaugeMetricFamily("troth_leader", "1 while this copy may write.", leadership.acting)
        yield GaugeMetricFamily(
            "troth_queue_depth", "Resources waiting or being worked on.", len(engine.queue)
        )
        yield self._resources()
        yield self._certificates()
        yield self._authorities()
        yield self._unverified()

    def _resources(self) -> Metric:
        registry = self._operator.engine.world.registry
        counts = Counter(
            ("TrustDomain", *_ready(domain.status.conditions))
            for domain in registry.domains.values()
        )
        counts.update(
            ("ServiceIdentity", *_ready(identity.status.conditions))
            for identity in registry.identities.values()
        )
        family = GaugeMetricFamily(
            "troth_resources",
            "Resources by their Ready condition.",
            labels=("kind", "ready", "reason"),
        )
        for labels, count in counts.items():
            family.add_metric(labels, count)
        return family

    def _certificates(self) -> Metric:
        family = GaugeMetricFamily(
            "troth_certificate_expiration_timestamp_seconds",
            "When an identity's certificate expires.",
            labels=("namespace", "name"),
        )
        for ref, identity in self._operator.engine.world.registry.identities.items():
            if identity.status.certificate is not None:
                expires = identity.status.certificate.not_after.timestamp()
                family.add_metric((ref.namespace, ref.name), expires)
        return family

    def _authorities(self) -> Metric:
        family = GaugeMetricFamily(
            "troth_authority_expiration_timestamp_seconds",
            "When a trust domain's authority expires.",
            labels=("trust_domain", "fingerprint"),
        )
        for name, domain in self._operator.engine.world.registry.domains.items():
            for authority in domain.status.authorities:
                family.add_metric((name, authority.fingerprint), authority.not_after.timestamp())
        return family

    def _unverified(self) -> Metric:
        family = GaugeMetricFamily(
            "troth_unverified_peers",
            "Peers without an identity that an identity lets in.",
            labels=("namespace", "name"),
        )
        for ref, identity in self._operator.engine.world.registry.identities.items():
            count = sum(accepted.unverified is not None for accepted in identity.spec.accepts)
            if count:
                family.add_metric((ref.namespace, ref.name), count)
        return family


def _ready(conditions: tuple[Condition, ...]) -> tuple[str, str]:
    for condition in conditions:
        if condition.type == "Ready":
            return condition.status.value, condition.reason
    return "Unknown", "Unvisited"
