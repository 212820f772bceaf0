"""Plans as data: the reconciler, `troth plan` and the tests read the same plan."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from troth.planning.steps.step import Step
from troth.trust.declarations.narrowing import Narrowing
from troth.world.keys import Key
from troth.world.world import World


@dataclass(frozen=True, slots=True)
class Plan:
    """Steps and status for one resource.

    `status` is the desired status, None if the resource is gone. `due` is when to reconcile again
    without a change. `passing` says that the reason for not being ready is likely to pass shortly,
    through work in progress. `unapplied` lists the peers that an identity's `identity.json` grants
    more than is declared while it cannot be narrowed, None if that was not checked. `errors` are
    internal exceptions; the parts of the plan that raised them are missing.
    """

    key: Key
    uid: str
    steps: tuple[Step, ...] = ()
    status: Mapping[str, Any] | None = None
    previous_status: Mapping[str, Any] | None = None
    due: datetime | None = None
    passing: bool = False
    unapplied: Narrowing | None = None
    errors: tuple[Exception, ...] = ()

    def by(self, now: datetime, *waits: float | None) -> "Plan":
        """Return the plan with its due time, at the latest after the shortest wait in seconds."""
        dues = [now + timedelta(seconds=wait) for wait in waits if wait is not None]
        return replace(self, due=min([*dues, *([self.due] if self.due else [])], default=None))

    def pending(self, world: World) -> list[Step]:
        """Return the steps that are not done according to the world."""
        return [step for step in self.steps if not step.is_done(world)]
