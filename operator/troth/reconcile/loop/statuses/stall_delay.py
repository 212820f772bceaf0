"""Delay before a resource is reported as stalled.

One apply may create an identity seconds before the trust domain or the namespace's label that it
needs. Flux gives up on a stalled resource at once, so a reason counts as in progress first, and the
resource is stalled once the reason has not changed for a while.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from troth.planning.plan import Plan
from troth.planning.status import INVALID_SPEC, STALLED, not_stalled_yet
from troth.resources.conditions import Truth
from troth.world.keys import Key

DELAY = 10.0
"""Seconds for which a reason stays unchanged before the resource is stalled because of it."""


class StallDelay:
    """Reasons for being stalled that are not reported yet, and since which uptime they hold."""

    def __init__(self, delay: float = DELAY) -> None:
        self._delay = delay
        self._since: dict[Key, tuple[_Stall, float]] = {}

    def apply(self, plan: Plan, now: datetime, uptime: float) -> tuple[Plan, float | None]:
        """Return the plan with the status to report, and in how many seconds that may change.

        The status stays as planned if the spec cannot be read, because only a change of the spec
        helps then, or if it says already that the resource is stalled for this reason. So a restart
        of Troth changes no status.
        """
        stall = _stall(plan, plan.status)
        if stall is None or stall == _stall(plan, plan.previous_status) or _in_spec(stall):
            self._since.pop(plan.key, None)
            return plan, None
        known, since = self._since.get(plan.key, (None, uptime))
        if known != stall:
            since = uptime
        self._since[plan.key] = stall, since
        left = since + self._delay - uptime
        if left <= 0:
            return plan, None
        status = not_stalled_yet(plan.status or {}, plan.previous_status or {}, now)
        return replace(plan, status=status), left


_Stall = tuple[str, int, str]
"""UID of a stalled resource, generation of its spec, and reason."""


def _stall(plan: Plan, status: Mapping[str, Any] | None) -> _Stall | None:
    """Return why a resource is stalled according to a status, None if it is not."""
    for each in (status or {}).get("conditions") or ():
        if each["type"] == STALLED and each["status"] == Truth.TRUE:
            return plan.uid, each.get("observedGeneration", 0), each["reason"]
    return None


def _in_spec(stall: _Stall) -> bool:
    return stall[2] == INVALID_SPEC
