"""What is told of every decision: a line of the log, and numbers. Never a token."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import structlog
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from troth.issuer.errors import without_tokens

ISSUED = "issued"
_LONGEST = 256
_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)


@dataclass(slots=True)
class Decision:
    """Who asked for what, and what came of it; filled in as it becomes known.

    `outcome` is `issued`, or why not in OAuth's words. `token_id` is the token's `jti` or `txn`.
    """

    grant: str = ""
    caller: str = ""
    audience: str = ""
    scope: str = ""
    outcome: str = "failed"
    reason: str = ""
    token_id: str = ""


class Decisions:
    """The log and the metrics of one issuer."""

    def __init__(
        self,
        registry: CollectorRegistry | None = None,
    ) -> None:
        self.registry = registry or CollectorRegistry()
        self._decisions = Counter(
            "troth_issuer_decisions",
            "Token requests, by grant and outcome.",
            ("grant", "outcome"),
            registry=self.registry,
        )
        self._seconds = Histogram(
            "troth_issuer_decision_seconds",
            "Time from the last byte of a token request to the answer.",
            ("grant",),
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self._log = structlog.get_logger().bind()
        self._known: dict[tuple[str, str], tuple[Counter, Histogram]] = {}

    def tell(self, decision: Decision, seconds: float) -> None:
        """Write the line about a decision, and count it."""
        grant = decision.grant or "none"
        counted, timed = self._numbers(grant, decision.outcome)
        counted.inc()
        timed.observe(seconds)
        self._log.info(
            "decided",
            grant=grant,
            caller=decision.caller,
            audience=_shown(decision.audience),
            scope=_shown(decision.scope),
            outcome=decision.outcome,
            token_id=decision.token_id,
            **({"reason": decision.reason} if decision.reason else {}),
        )

    def _numbers(self, grant: str, outcome: str) -> tuple[Counter, Histogram]:
        """Return what is counted of such decisions; to look labels up costs more than to count."""
        found = self._known.get((grant, outcome))
        if found is None:
            found = self._decisions.labels(grant, outcome), self._seconds.labels(grant)
            self._known[grant, outcome] = found
        return found

    def read_view_age(self, seconds: Callable[[], float | None]) -> None:
        """Have the age of the view read at every scrape; no sample while there is none."""
        self.registry.register(_ViewAge(seconds))


def _shown(text: str) -> str:
    """Return what somebody wrote as it may be logged."""
    return without_tokens(text)[:_LONGEST]


class _ViewAge(Collector):
    def __init__(self, seconds: Callable[[], float | None]) -> None:
        self._age = seconds

    def collect(self) -> Iterator[Metric]:
        family = GaugeMetricFamily(
            "troth_issuer_view_age_seconds",
            "Seconds since the issuer configuration changed, or was first read.",
        )
        if (age := self._age()) is not None:
            family.add_metric((), age)
        yield family
