"""A plan is data. The reconciler, `troth plan` and the tests all read the same one."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from troth.planning.steps.step import Step
from troth.trust.narrowing import Narrowing
from troth.world.keys import Key
from troth.world.world import World


@dataclass(frozen=True, slots=True)
class Plan:
    """What one resource asks of the world.

    `status` is what the resource's status should be, None where the resource is gone; `due` is
    when to look again though nothing changes. `passing`: what the status says why it is not ready
    is likely to be over in a moment, by what is under way already. `unapplied` is what the
    `identity.json` of an identity grants too much and cannot be made to grant less, None where that
    was not looked at; `errors` are exceptions of Troth's own, whose parts are missing here.
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

    def pending(self, world: World) -> list[Step]:
        """Return the steps that the world does not show as done."""
        return [step for step in self.steps if not step.is_done(world)]
