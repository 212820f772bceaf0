"""Writes that the API server rejects, for conditions and metrics.

A rejected write is a refusal at once. A conflict usually passes, because an object has only changed
meanwhile. A lasting conflict is a refusal too, because the declared state is not in place.
"""

from collections import Counter
from collections.abc import Iterable

from troth.cluster.errors import SERVER_ERROR, ApiError
from troth.planning.steps.objects import Remove, Restart
from troth.planning.steps.step import Step, Target
from troth.reconcile.apply.writer import CONFLICT
from troth.reconcile.runtime.clock import Clock
from troth.reconcile.status.rejection_text import essence, sentence
from troth.world.keys import Key, Keys
from troth.world.outcomes.writes import RefusalOver, WriteRefused
from troth.world.world import World

LASTING = 15.0
"""Seconds after which a conflict counts as a refusal. With the backoff of retries, the condition
appears within a minute.
"""
UNANSWERED = 0
OUT_OF_ORDER = frozenset({429, 503, 504})
"""Status codes about the API server's availability for a kind, and not about one object."""
PASSING = OUT_OF_ORDER | {UNANSWERED, CONFLICT}
"""Status codes of failures that usually pass soon."""


class RejectedWrites:
    """Refused writes, by the resource that needs them."""

    def __init__(self, world: World, clock: Clock) -> None:
        self._world = world
        self._clock = clock
        self._refused: dict[Key, dict[Target, str]] = {}
        self._conflicts: dict[Key, dict[Target, float]] = {}
        self._statuses: dict[Key, str] = {}

    def note(self, key: Key, step: Step, error: Exception) -> None:
        """Record that a step is refused, and why."""
        place = step.target
        said = self._said(place, sentence(place, error, removing=isinstance(step, Remove)))
        brief = isinstance(error, ApiError) and (
            error.status in PASSING or error.status >= SERVER_ERROR
        )
        passing = brief and not self.lasts(key, step)
        self._world.observe_outcome(WriteRefused(*place, said, passing=passing))
        # only `RolledOut` reports workloads that were not restarted
        self._refused.setdefault(key, {})[place] = "" if isinstance(step, Restart) else said

    def _said(self, place: Target, said: str) -> str:
        """Return the known sentence if a new one differs only in numbers, else the new one.

        Otherwise each attempt would change the status.
        """
        known = self._world.refused.get(place, "")
        return known if essence(known) == essence(said) else said

    def lasts(self, key: Key, step: Step) -> bool:
        """Record a conflict; return whether every attempt has failed for longer than `LASTING`."""
        now = self._clock.uptime()
        since = self._conflicts.setdefault(key, {}).setdefault(step.target, now)
        return now - since >= LASTING

    def done(self, key: Key, step: Step) -> bool:
        """Record that a step is carried out; return whether that ends a refusal.

        Without it, a step that stays planned because its object is changed would stay refused.
        """
        self._conflicts.get(key, {}).pop(step.target, None)
        if self._refused.get(key, {}).pop(step.target, None) is None:
            return False
        self._world.observe_outcome(RefusalOver(*step.target))
        return True

    def settle(self, key: Key, steps: Iterable[Step]) -> bool:
        """Forget refusals of steps that are no longer planned; return whether there were any.

        The need may be gone, or only the answer to the write was lost.
        """
        asked = {step.target for step in steps}
        for place in self._conflicts.get(key, {}).keys() - asked:
            del self._conflicts[key][place]
        refused = self._refused.get(key, {})
        over = refused.keys() - asked
        for place in over:
            self._world.observe_outcome(RefusalOver(*place))
            del refused[place]
        if not refused:
            self._refused.pop(key, None)
        if not self._conflicts.get(key):
            self._conflicts.pop(key, None)
        return bool(over)

    @property
    def keys(self) -> Keys:
        """Resources with a refusal or a conflict."""
        return {*self._refused, *self._conflicts, *self._statuses}

    def forget(self, key: Key) -> None:
        """Forget the refusals of a resource that another replica plans from now on."""
        self.settle(key, ())
        self._statuses.pop(key, None)

    def of(self, key: Key) -> str:
        """Return why a resource is not Ready because of a refusal, "" if it may be Ready."""
        return next(filter(None, self._refused.get(key, {}).values()), "")

    def note_status(self, key: Key, error: ApiError | None) -> str:
        """Record whether a status write is refused; return the sentence if the refusal is new."""
        if error is None:
            self._statuses.pop(key, None)
            return ""
        said = sentence((f"the status of {key.kind}", key.ref), error, removing=False)
        known, self._statuses[key] = self._statuses.get(key), said
        return said if known is None else ""

    def count(self) -> Counter[str]:
        """Return the number of objects of each kind that refusals keep from being as declared."""
        places = {place for refused in self._refused.values() for place in refused}
        counts = Counter(kind for kind, _ in places)
        counts.update(f"{key.kind}/status" for key in self._statuses)
        return counts


class LastingConflict(Exception):  # noqa: N818 - the cause of a refusal
    """Every attempt met a version other than the planned one."""

    def __str__(self) -> str:
        return (
            f"every attempt for {LASTING:.0f} seconds or longer met a conflict; find out what "
            "else writes the object, or the objects that it is computed from"
        )


class StepFailed(Exception):  # noqa: N818 - the cause of a refusal
    """Executing a step raised an unexpected exception."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(
            f"Troth failed with {type(error).__name__}, which is a bug in Troth; report it with "
            "the operator's log"
        )
