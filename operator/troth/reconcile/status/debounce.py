"""Debounce of statuses that only report progress.

If Troth applies a thousand grants at a broker, a progress status for each grant costs the API
server as much as the grants do, and is outdated once written. A progress status is written only if
the state lasts.
"""

from troth.planning.plan import Plan
from troth.world.keys import Key

MOMENT = 2.0
"""Seconds after which a progress status is written."""
RUSH = 10.0
"""The same while the queue is long, because the status write would probably wait anyway."""


class StatusDebounce:
    """Statuses that are held back, and since which uptime in seconds."""

    def __init__(self, moment: float = MOMENT, rush: float = RUSH) -> None:
        self._moment, self._rush = moment, rush
        self._since: dict[Key, float] = {}

    def wait(self, plan: Plan, uptime: float, *, rush: bool, changed: bool) -> float:
        """Return for how many more seconds a plan's status is held back, 0 if it is not.

        `changed` is whether the status would be written. The first status of a resource is never
        held back.
        """
        told = (plan.previous_status or {}).get("conditions")
        if not plan.passing or not told or not changed:
            self._since.pop(plan.key, None)
            return 0.0
        since = self._since.setdefault(plan.key, uptime)
        left = since + (self._rush if rush else self._moment) - uptime
        if left <= 0:
            del self._since[plan.key]
            return 0.0
        return left
