"""Statuses that only say that something is on its way, held back for a moment.

When a thousand grants are on their way to a broker, a status for each that says so would be as
much work for the API server as what they wait for, and outdated when it is there. What is over by
then is never said; what lasts is.
"""

from troth.planning.plan import Plan
from troth.world.keys import Key

MOMENT = 2.0
"""Seconds after which what is on its way is told all the same."""
RUSH = 10.0
"""The same where much else is waiting to be done, and that is what it waits for."""


class Withheld:
    """Whose status is held back, and since when, in seconds of this process's uptime."""

    def __init__(self, moment: float = MOMENT, rush: float = RUSH) -> None:
        self._moment, self._rush = moment, rush
        self._since: dict[Key, float] = {}

    def wait(self, plan: Plan, uptime: float, *, rush: bool) -> float:
        """Return for how many seconds more the status of a plan is held back, 0 if it is not.

        A resource of which nothing has been said yet is told at once what becomes of it.
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
