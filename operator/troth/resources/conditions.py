"""Conditions: how every status says where a resource stands."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints

from troth.resources.schema.model import Model
from troth.resources.schema.scalars import Time


class Truth(StrEnum):
    """The three values of a condition."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class Condition(Model):
    """One observation of a resource's state, after the Kubernetes API conventions."""

    type: Annotated[str, StringConstraints(max_length=316)]
    """What is observed, in CamelCase."""
    status: Truth
    """Whether it holds."""
    reason: Annotated[str, StringConstraints(min_length=1, max_length=1024)]
    """Why, in one CamelCase word: the name of the check that decided."""
    message: Annotated[str, StringConstraints(max_length=32768)] = ""
    """Why, in a sentence that says what to change where something must be changed."""
    observed_generation: Annotated[int, Field(ge=0)] | None = None
    """The generation of the spec that was judged."""
    last_transition_time: Time
    """When the status last changed."""


Conditions = Annotated[
    tuple[Condition, ...],
    Field(
        max_length=16,
        json_schema_extra={
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["type"],
        },
    ),
]


class Verdict(Model):
    """A condition before it is placed in time: what planning decides."""

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
