"""Conditions of a resource's status."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints

from troth.resources.schema.lists import ATOMIC
from troth.resources.schema.model import Model, Observed
from troth.resources.schema.scalars import Time
from troth.resources.schema.sharing import shared

UNOBSERVED = -1
"""Value of `observedGeneration` before Troth has written a status. The CRDs default it, so that
kstatus takes the resource for one in progress; it takes a resource without a status for ready."""


class Truth(StrEnum):
    """Status of a condition."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class Condition(Observed):
    """Observation of a resource's state, as in the Kubernetes API conventions."""

    type: Annotated[str, StringConstraints(max_length=316)]
    """Type of the condition, in CamelCase."""
    status: Truth
    """Status of the condition: True, False or Unknown."""
    reason: Annotated[str, StringConstraints(min_length=1, max_length=1024)]
    """Name of the check that decided the status, in CamelCase."""
    message: Annotated[str, StringConstraints(max_length=32768)] = ""
    """Explanation of the status. It says what to change if a change is needed."""
    observed_generation: Annotated[int, Field(ge=0)] | None = None
    """Generation of the spec that the condition is about."""
    last_transition_time: Time
    """Time at which the status last changed."""


Conditions = Annotated[
    tuple[Annotated[Condition, shared()], ...],
    Field(max_length=16, json_schema_extra=ATOMIC),
]


class Verdict(Model):
    """Result of planning: a condition without generation and time."""

    type: str
    status: Truth
    reason: str
    message: str = ""


def placed(
    verdict: Verdict, previous: tuple[Condition, ...], generation: int, now: datetime
) -> Condition:
    """Return `verdict` as a condition; its time moves only when its status does."""
    before = next((condition for condition in previous if condition.type == verdict.type), None)
    unchanged = before is not None and before.status is verdict.status
    return Condition(
        type=verdict.type,
        status=verdict.status,
        reason=verdict.reason,
        message=verdict.message,
        observed_generation=generation,
        last_transition_time=before.last_transition_time if before and unchanged else now,
    )
