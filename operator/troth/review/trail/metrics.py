"""Metrics of the audit log, and what its entries say about reviews."""

from collections.abc import Callable
from contextlib import suppress
from typing import get_args

from prometheus_client import CollectorRegistry, Counter, Gauge

from troth.review.trail.decisions import Ended, Refused, Settled, Started, Withdrawn, Written


class AuditLogMetrics:
    """The metrics of one log."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._entries = Counter(
            "troth_audit_log_entries",
            "Entries of the audit log that this process wrote.",
            ("decision",),
            registry=registry,
        )
        self._letters = Counter(
            "troth_audit_log_letters",
            "Dead letters in these entries, by outcome and its reason.",
            ("policy", "outcome", "reason"),
            registry=registry,
        )
        self._progress = Gauge(
            "troth_review_progress_timestamp_seconds",
            "When the review that is carried out for a policy last began or settled letters.",
            ("policy",),
            registry=registry,
        )
        self._pending = Gauge(
            "troth_audit_log_pending",
            "Entries that a sink of the audit log does not have yet.",
            ("sink",),
            registry=registry,
        )
        for each in get_args(Written):
            self._entries.labels(each.decision)

    def written(self, decision: Written, at: float) -> None:
        """Take in an entry of a time in seconds since the epoch.

        Reasons are few: they are those of `review/letters/judgement.py`.
        """
        self._entries.labels(decision.decision).inc()
        match decision:
            case Started():
                self._progress.labels(str(decision.review.policy)).set(at)
            case Settled():
                self._settled(decision, at)
            case Ended() | Withdrawn() | Refused():
                with suppress(KeyError):
                    self._progress.remove(str(decision.review.policy))

    def _settled(self, decision: Settled, at: float) -> None:
        policy = str(decision.review.policy)
        self._progress.labels(policy).set(at)
        for each in decision.letters:
            self._letters.labels(policy, each.outcome.value, each.reason or "").inc()

    def pending(self, sink: str, number: Callable[[], int]) -> None:
        """Export the number of entries that wait for a sink, at each scrape."""
        self._pending.labels(sink).set_function(number)
