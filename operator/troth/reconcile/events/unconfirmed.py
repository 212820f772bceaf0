"""Notices of statuses that were perhaps written although the write failed.

The answer of the API server may be lost, and the end of the lease may cancel a request that was
sent. The next plan then finds the status as it should be, without a transition to report.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from troth.planning.plan import Plan
from troth.reconcile.apply.execute import changes_status
from troth.reconcile.events.notice import Notice
from troth.world.keys import Key


class UnconfirmedNotices:
    """The notices of the last failed status write of each key."""

    def __init__(self) -> None:
        self._kept: dict[Key, tuple[Plan, list[Notice]]] = {}

    @contextmanager
    def of(self, plan: Plan, notices: list[Notice]) -> Iterator[None]:
        """Keep the notices if the body, which writes the plan's status, fails."""
        try:
            yield
        except BaseException:
            self._kept[plan.key] = plan, notices
            raise

    def confirmed(self, plan: Plan) -> list[Notice]:
        """Forget the kept notices, and return them if the API server has their status."""
        failed, notices = self._kept.pop(plan.key, (None, []))
        if failed is None or changes_status(replace(plan, status=failed.status)):
            return []
        return notices
