"""The log line and the metrics of each delivery. They never hold a body, signature or secret."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import structlog
from prometheus_client import CollectorRegistry, Counter, Histogram

from troth.pki.tokens.signing import is_text
from troth.serving.logs import RequestLog, escaped
from troth.serving.request_metrics import BUCKETS, RequestMetrics

_BUCKETS = (*BUCKETS, 10, 25)

SELDOM = 10.0
"""Minimum seconds between two log lines of one event that many deliveries have in common."""

KeyUsed = Callable[[str, str], None]
"""Called with the endpoint (`<namespace>/<name>`) of a delivery and the ID of its key."""


@dataclass(slots=True)
class Decision:
    """One delivery and its outcome, filled in while it is processed.

    `verification` is `verified`, `unsigned` (a secret token was compared, and nothing is signed),
    `refused` or `not-asked`, `replay` one of `new`, `repeated`, `in-flight`, `unavailable` and
    `not-asked`; `reason` is one word for why it was rejected. `delivery_id` is that of an accepted
    delivery, `claimed_id` that of any other, which anybody may have written. The status is 0 if the
    sender disconnected before the answer.
    """

    endpoint: str = ""
    scheme: str = ""
    delivery_id: str = ""
    claimed_id: str = ""
    key_id: str = ""
    verification: str = "not-asked"
    reason: str = ""
    replay: str = "not-asked"
    workflow: str = ""
    target_status: int = 0
    status: int = 0
    txn: str = ""


class Decisions:
    """Log and metrics of one gateway."""

    def __init__(
        self,
        registry: CollectorRegistry | None = None,
        key_used: KeyUsed = lambda _endpoint, _key: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.registry = registry or CollectorRegistry()
        self.key_used = key_used
        self._clock = clock
        self._quiet: dict[str, float] = {}
        self._pending: list[tuple[Decision, float]] = []
        deliveries = Counter(
            "troth_gateway_deliveries",
            "Requests to the gateway, by endpoint and answer; requests for unknown paths are not "
            "counted.",
            ("endpoint", "status", "reason"),
            registry=self.registry,
        )
        seconds = Histogram(
            "troth_gateway_delivery_seconds",
            "Time from the head of a request to the answer.",
            ("endpoint",),
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self._metrics = RequestMetrics(deliveries, seconds)
        self._deliveries = RequestLog("delivery")
        self._log = structlog.get_logger().bind()

    def record(self, decision: Decision, seconds: float) -> None:
        """Count and log a delivery in the next turn of the event loop.

        All decisions of one turn are recorded together: doing one kind of work at a time keeps the
        processor's caches warm, which saves a sixth of the cost of a delivery.
        """
        if not self._pending:
            asyncio.get_running_loop().call_soon(self._record)
        self._pending.append((decision, seconds))

    def _record(self) -> None:
        pending, self._pending = self._pending, []
        for decision, seconds in pending:
            self._metrics.observe(seconds, decision.endpoint, str(decision.status), decision.reason)
        # a scan for endpoints must not fill the log
        self._deliveries.write(_entry(*each) for each in pending if each[0].endpoint)

    def warn(self, event: str, why: str) -> None:
        """Log an event that many deliveries have in common, at most once in `SELDOM` seconds."""
        now = self._clock()
        if now >= self._quiet.get(event, now):
            self._quiet[event] = now + SELDOM
            self._log.warning(event, why=why)

    def forget(self, endpoint: str) -> None:
        """Drop the samples of a deleted endpoint: many of them must not fill the memory."""
        self._metrics.forget(endpoint)


def _entry(decision: Decision, seconds: float) -> dict[str, Any]:
    return {
        "delivery_id": _shown(decision.delivery_id),
        "claimed_id": escaped(decision.claimed_id),
        "endpoint": decision.endpoint,
        "scheme": decision.scheme,
        "key_id": decision.key_id,
        "verification": decision.verification,
        "reason": decision.reason,
        "replay": decision.replay,
        "workflow": decision.workflow,
        "target_status": decision.target_status,
        "status": decision.status,
        "duration_ms": round(seconds * 1000, 3),
        "txn": decision.txn,
    }


def _shown(text: str) -> str:
    """Return a text of the sender as it may be logged."""
    return text if is_text(text) else ""
