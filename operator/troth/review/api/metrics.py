"""Log line and metrics of each request. They never contain a token or a payload."""

import structlog
from prometheus_client import CollectorRegistry, Counter, Histogram

from troth.review.api.answering import Call
from troth.serving.logs import escaped
from troth.serving.request_metrics import BUCKETS, RequestMetrics


class Calls:
    """The log and the metrics of the list API."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        requests = Counter(
            "troth_review_api_requests",
            "Requests of the list API of dead letters, by verb and status code.",
            ("verb", "code"),
            registry=self.registry,
        )
        seconds = Histogram(
            "troth_review_api_request_seconds",
            "Time until a request of the list API is answered.",
            ("verb",),
            buckets=BUCKETS,
            registry=self.registry,
        )
        self._refused = Counter(
            "troth_review_api_refused_connections",
            "Connections to the list API that were closed or rejected, by reason.",
            ("reason",),
            registry=self.registry,
        )
        self._metrics = RequestMetrics(requests, seconds)
        self._log = structlog.get_logger().bind()

    def connection_refused(self, reason: str) -> None:
        """Count a connection that was closed, or a request that was rejected, unread."""
        self._refused.labels(reason).inc()

    def record(self, call: Call, seconds: float) -> None:
        """Count and log a request."""
        self._metrics.observe(seconds, call.verb, str(call.status))
        self._log.info(
            "answered",
            verb=call.verb,
            policy=call.policy,
            user=escaped(call.user),
            status=call.status,
            **({"letter": escaped(call.letter)} if call.letter else {}),
            **({"reason": call.reason} if call.reason else {}),
        )
