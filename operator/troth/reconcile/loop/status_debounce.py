"""Debounce of statuses that only say that something is in progress.

When a thousand grants are being applied at a broker, a status for each that says so would cost the
API server as much as the grants do, and be outdated when it is written. A state that is over by
then is never written; one that lasts is.
"""

from troth.planning.plan import Plan
from troth.world.keys import Key

MOMENT = 2.0
"""Seconds after which a status in progress is written all the same."""
RUSH = 10.0
"""The same while the queue is long, so that the status probably waits for it."""


class StatusDebounce:
    """Which statuses are held back, and since when, in seconds of this process's uptime."""

    def __init__(self, moment: float = MOMENT, rush: float = RUSH) -> None:
        self._moment, self._rush = moment, rush
        self._since: dict[Key, float] = {}

    def wait(self, plan: Plan, uptime: float, *, rush: bool) -> float:
        """Return for how many seconds more the status of a plan is held back, 0 if it is not.

        The first status of a resource is never held back.
        """
        told = (plan.previous_status or {}).get("conditions")
        if not plan.passing or not told or plan.status == plan.previous_status:
            self._since.pop(plan.key, None)
            return 0.0
        since = self._since.setdefault(plan.key, uptime)
        left = since + (self._rush if rush else self._moment) - uptime
        if left <= 0:
            del self._since[plan.key]
            return 0.0
        return left
