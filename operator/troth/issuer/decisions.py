"""Log line and metrics of each decision. They never contain a token."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from troth.issuer.errors import without_tokens
from troth.serving.logs import RequestLog, escaped
from troth.serving.request_metrics import BUCKETS, RequestMetrics

ISSUED = "issued"


@dataclass(slots=True)
class Decision:
    """One request for a token and its outcome, filled in while it is processed.

    `outcome` is `issued` or an OAuth error code. `token_id` is the token's `jti` or `txn`. `status`
    is that of the answer, 0 without one.
    """

    grant: str = ""
    caller: str = ""
    audience: str = ""
    scope: str = ""
    outcome: str = "failed"
    reason: str = ""
    token_id: str = ""
    status: int = field(default=0, init=False)


class Decisions:
    """The log and the metrics of one issuer."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        decisions = Counter(
            "troth_issuer_decisions",
            "Token requests, by grant and outcome.",
            ("grant", "outcome"),
            registry=self.registry,
        )
        seconds = Histogram(
            "troth_issuer_decision_seconds",
            "Time from the last byte of a token request to the answer.",
            ("grant",),
            buckets=BUCKETS,
            registry=self.registry,
        )
        self._refused = Counter(
            "troth_issuer_refused_connections",
            "Malformed requests, and connections closed because there were too many, by reason.",
            ("reason",),
            registry=self.registry,
        )
        self._metrics = RequestMetrics(decisions, seconds)
        self._log = RequestLog("decided")

    def connection_refused(self, reason: str) -> None:
        """Count a connection that was closed, or a request that was rejected, before its form."""
        self._refused.labels(reason).inc()

    def record(self, decision: Decision, seconds: float) -> None:
        """Count and log a decision."""
        grant = decision.grant or "none"
        self._metrics.observe(seconds, grant, decision.outcome)
        entry = {
            "grant": grant,
            "caller": decision.caller,
            "audience": _shown(decision.audience),
            "scope": _shown(decision.scope),
            "outcome": decision.outcome,
            "token_id": decision.token_id,
            **({"reason": decision.reason} if decision.reason else {}),
        }
        self._log.write([entry])

    def read_view_age(self, seconds: Callable[[], float | None]) -> None:
        """Export the age of the configuration; no sample while there is none."""
        self.registry.register(
            _Sample(
                "troth_issuer_view_age_seconds",
                "Seconds since the issuer configuration changed, or was first read.",
                seconds,
            )
        )

    def read_cluster_keys(self, readable: Callable[[], bool | None]) -> None:
        """Export whether the cluster's keys can be read; no sample before the first read."""
        self.registry.register(
            _Sample(
                "troth_issuer_cluster_keys_readable",
                "Whether the issuer can read the keys of the cluster's ServiceAccount tokens.",
                readable,
            )
        )


def _shown(text: str) -> str:
    """Return a text from the caller in a form that may be logged."""
    return escaped(without_tokens(text))


class _Sample(Collector):
    """A gauge that is read when it is exported; no sample while there is no value."""

    def __init__(self, name: str, text: str, read: Callable[[], float | None]) -> None:
        self._name, self._text, self._read = name, text, read

    def collect(self) -> Iterator[Metric]:
        family = GaugeMetricFamily(self._name, self._text)
        if (value := self._read()) is not None:
            family.add_metric((), float(value))
        yield family
