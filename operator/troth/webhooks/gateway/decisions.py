"""Log line and metrics of each delivery.

They never contain a body, a signature or a secret.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog
from prometheus_client import CollectorRegistry, Counter, Histogram

from troth.pki.tokens import is_text

_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25)

SELDOM = 10.0
"""Minimum time in seconds between two equal warnings."""

KeyUsed = Callable[[str, str], None]
"""Called with the endpoint (`<namespace>/<name>`) and the ID of a key that verified a delivery."""


@dataclass(slots=True)
class Decision:
    """Result of one delivery; the steps fill it in.

    `verification` is `verified`, `refused` or `not-asked`. `replay` is one of `new`, `repeated`,
    `in-flight`, `unavailable` and `not-asked`. `reason` is one word for the reason of a rejection.
    `delivery_id` is the sender's. The status is 0 if nobody was there to receive an answer.
    """

    endpoint: str = ""
    scheme: str = ""
    delivery_id: str = ""
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
        self._untold: list[tuple[Decision, float]] = []
        self._deliveries = Counter(
            "troth_gateway_deliveries",
            "Requests to the gateway, by endpoint and answer; requests for unknown paths are not "
            "counted.",
            ("endpoint", "status", "reason"),
            registry=self.registry,
        )
        self._seconds = Histogram(
            "troth_gateway_delivery_seconds",
            "Time from the head of a request to the answer.",
            ("endpoint",),
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self._log = structlog.get_logger().bind()
        self._known: dict[tuple[str, int, str], tuple[Counter, Histogram]] = {}

    def tell(self, decision: Decision, seconds: float) -> None:
        """Count and log a delivery in the next iteration of the event loop.

        Those of one iteration are processed together, which saves a sixth of the cost of a
        delivery, because the processor's caches stay warm.
        """
        if not self._untold:
            asyncio.get_running_loop().call_soon(self._tell)
        self._untold.append((decision, seconds))

    def _tell(self) -> None:
        untold, self._untold = self._untold, []
        for decision, seconds in untold:
            counted, timed = self._numbers(decision)
            counted.inc()
            timed.observe(seconds)
            if decision.endpoint:  # scanners must not fill the log
                self._write(decision, seconds)

    def _write(self, decision: Decision, seconds: float) -> None:
        self._log.info(
            "delivery",
            delivery_id=_shown(decision.delivery_id),
            endpoint=decision.endpoint,
            scheme=decision.scheme,
            key_id=decision.key_id,
            verification=decision.verification,
            reason=decision.reason,
            replay=decision.replay,
            workflow=decision.workflow,
            target_status=decision.target_status,
            status=decision.status,
            duration_ms=round(seconds * 1000, 3),
            txn=decision.txn,
        )

    def warn(self, event: str, why: str) -> None:
        """Log a warning that concerns many deliveries, at most once in `SELDOM` seconds."""
        now = self._clock()
        if now >= self._quiet.get(event, now):
            self._quiet[event] = now + SELDOM
            self._log.warning(event, why=why)

    def forget(self, endpoint: str) -> None:
        """Remove the metrics of a deleted endpoint, whose number would otherwise only grow."""
        gone = [key for key in self._known if key[0] == endpoint]
        for key in gone:
            _, status, reason = key
            del self._known[key]
            self._deliveries.remove(endpoint, str(status), reason)
        if gone:
            self._seconds.remove(endpoint)

    def _numbers(self, decision: Decision) -> tuple[Counter, Histogram]:
        """Return the metrics of such decisions; looking up labels costs more than counting."""
        key = decision.endpoint, decision.status, decision.reason
        found = self._known.get(key)
        if found is None:
            labels = decision.endpoint, str(decision.status), decision.reason
            found = self._deliveries.labels(*labels), self._seconds.labels(decision.endpoint)
            self._known[key] = found
        return found


def _shown(text: str) -> str:
    """Return a sender's text in a form that is safe to log."""
    return text if is_text(text) else ""
