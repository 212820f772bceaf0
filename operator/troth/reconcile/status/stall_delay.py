"""Delay before a resource is reported as stalled.

One apply may create an identity seconds before the trust domain or the namespace's label that it
needs. Flux gives up on a stalled resource at once, so a reason counts as in progress first, and the
resource is stalled once the reason has lasted for a while. Two reasons may take turns, so a reason
also lasts while another is reported for a shorter time.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from troth.planning.plan import Plan
from troth.planning.verdicts import INVALID_SPEC, READY, STALLED, not_stalled_yet
from troth.resources.conditions import Truth
from troth.world.keys import Key

DELAY = 10.0
"""Seconds for which a reason lasts before the resource is stalled because of it."""


class StallDelay:
    """Reasons for being stalled, and since which uptime they hold."""

    def __init__(self, delay: float = DELAY) -> None:
        self._delay = delay
        self._lasting: dict[Key, _Lasting] = {}

    def apply(self, plan: Plan, now: datetime, uptime: float) -> tuple[Plan, float | None]:
        """Return the plan with the status to report, and in how many seconds that may change.

        The status stays as planned if the spec cannot be read, because only a change of the spec
        helps then, or if it says already that the resource is stalled for this reason. So a restart
        of Troth changes no status.
        """
        lasting = self._lasting.pop(plan.key, None)
        if plan.status is None or _is(plan.status, READY):
            return plan, None
        spec = plan.uid, _condition(plan.status, STALLED).get("observedGeneration", 0)
        if lasting is None or lasting.spec != spec:
            lasting = _Lasting(spec)
        lasting.end(uptime, self._delay)
        stall = _stall(plan, plan.status)
        if stall is None:
            if lasting.since:
                self._lasting[plan.key] = lasting
            return plan, None
        known = stall == _stall(plan, plan.previous_status) or _in_spec(stall)
        since = lasting.begin(stall[2], uptime - self._delay if known else uptime)
        self._lasting[plan.key] = lasting
        left = since + self._delay - uptime
        if left <= 0:
            return plan, None
        status = not_stalled_yet(plan.status, plan.previous_status or {}, now)
        return replace(plan, status=status), left


@dataclass(slots=True)
class _Lasting:
    """Reasons of one object and generation: since when each lasts, and when it last ended."""

    spec: tuple[str, int]
    since: dict[str, float] = field(default_factory=dict)
    _until: dict[str, float] = field(default_factory=dict)
    _current: str = ""

    def end(self, uptime: float, delay: float) -> None:
        """Take in that the current reason held until now, and forget those that ended before."""
        if self._current:
            self._until[self._current] = uptime
            self._current = ""
        for reason, until in list(self._until.items()):
            if uptime - until >= delay:
                del self._until[reason], self.since[reason]

    def begin(self, reason: str, since: float) -> float:
        """Take in that a reason holds now; return since when it lasts."""
        self._current = reason
        self.since[reason] = min(since, self.since.get(reason, since))
        return self.since[reason]


_Stall = tuple[str, int, str]
"""UID of a stalled resource, generation of its spec, and reason."""


def _condition(status: Mapping[str, Any] | None, type_: str) -> Mapping[str, Any]:
    conditions = (status or {}).get("conditions") or ()
    return next((each for each in conditions if each["type"] == type_), {})


def _is(status: Mapping[str, Any] | None, type_: str) -> bool:
    return _condition(status, type_).get("status") == Truth.TRUE


def _stall(plan: Plan, status: Mapping[str, Any] | None) -> _Stall | None:
    """Return why a resource is stalled according to a status, None if it is not."""
    if not _is(status, STALLED):
        return None
    stalled = _condition(status, STALLED)
    return plan.uid, stalled.get("observedGeneration", 0), stalled["reason"]


def _in_spec(stall: _Stall) -> bool:
    return stall[2] == INVALID_SPEC
