"""Parts of a plan, and the plan that `assemble` makes from them.

A part judges conditions, and has steps, due times and fields of the status. If the planner of a
part raises an exception, the other parts continue, and `fails_closed` gives what takes its place.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from troth.planning import faults, verdicts
from troth.planning.faults import ErrorBoundary
from troth.planning.plan import Plan
from troth.planning.reasons.condition import Course
from troth.planning.reasons.table import course, listed_ones, ordered
from troth.planning.steps.step import Step
from troth.resources.conditions import Verdict
from troth.resources.metadata import Resource
from troth.world.keys import Key


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a plan.

    `Ready` depends on `verdicts`, and not on `beside`. The table of reasons says which of them the
    status lists. `dues` are the times at which the resource is planned again; past ones have no
    effect. `status` has fields of the resource's status, by their names in Python. A field that no
    part has stays as it is. `errors` are internal exceptions.
    """

    verdicts: tuple[Verdict, ...] = ()
    steps: tuple[Step, ...] = ()
    dues: tuple[datetime, ...] = ()
    status: Mapping[str, Any] = field(default_factory=dict, repr=False)
    beside: tuple[Verdict, ...] = ()
    errors: tuple[Exception, ...] = ()


P = TypeVar("P", bound=Part)
A = ParamSpec("A")


def caught(error: Exception, part: P) -> P:
    """Return the part that takes the place of one whose planner raised `error`."""
    return replace(part, errors=(error, *part.errors))


def fails_closed(
    closed: Callable[Concatenate[Exception, A], P],
) -> Callable[[Callable[A, P]], Callable[A, P]]:
    """Return the decorator of a part's planner that replaces an exception with a closed part.

    `closed` gets the exception and the planner's arguments.
    """

    def decorated(plan: Callable[A, P]) -> Callable[A, P]:
        @wraps(plan)
        def planned(*args: A.args, **kwargs: A.kwargs) -> P:
            try:
                return plan(*args, **kwargs)
            except Exception as error:  # noqa: BLE001 - the other parts continue after any error
                return caught(error, closed(error, *args, **kwargs))

        return planned

    return decorated


def unplanned(*types: str, beside: tuple[str, ...] = ()) -> Callable[..., Part]:
    """Return what closes a part that only keeps what is there: these conditions are false."""

    def closed(error: Exception, *_: object, **__: object) -> Part:
        needed, others = ([faults.verdict(each, error) for each in of] for of in (types, beside))
        return Part(tuple(needed), beside=tuple(others))

    return closed


def ending(resource: Resource, consequence: str) -> Part:
    """Return the part of a resource that is being deleted."""
    return Part((verdicts.termination(resource, consequence),))


def assemble(
    key: Key,
    resource: Any,  # noqa: ANN401 - each kind has its own status
    parts: Iterable[Part],
    now: datetime,
    *,
    errors: tuple[Exception, ...] = (),
    unreported: Callable[[], Mapping[str, Any]] | None = None,
) -> Plan:
    """Return the plan of an existing resource from its parts, whose steps keep their order.

    `errors` are those of reading it. If the new status cannot be made, the plan has the one that
    `unreported` returns, by default the previous one, as not ready.
    """
    parts = tuple(parts)
    boundary = ErrorBoundary([*errors, *(error for part in parts for error in part.errors)])
    needed = [each for part in parts for each in part.verdicts]
    fault = [faults.verdict(verdicts.READY, error) for error in boundary.errors[:1]]
    missing = verdicts.first_missing(ordered(key.kind, (*needed, *fault)))
    ends = course(key.kind, missing) if missing is not None else None
    summary = verdicts.summed_up(missing, ends)
    beside = (each for part in parts for each in part.beside)
    listed = ordered(key.kind, (*listed_ones(key.kind, needed), *beside))
    before, generation = resource.status.manifest(), resource.metadata.generation

    def status() -> Mapping[str, Any]:
        fields = {name: value for part in parts for name, value in part.status.items()}
        fields |= {"observed_generation": generation, "conditions": ()}
        assert fields.keys() <= type(resource.status).model_fields.keys()
        found: dict[str, Any] = resource.status.model_copy(update=fields).manifest()
        found["conditions"] = verdicts.conditions(
            resource, resource.status.conditions, (*summary, *listed), now
        )
        return found

    def not_ready(error: Exception) -> Mapping[str, Any]:
        kept = unreported() if unreported is not None else before
        return faults.not_ready(
            kept, before, generation, faults.verdict(verdicts.READY, error), now
        )

    dues = (due for part in parts for due in part.dues)
    return Plan(
        key,
        resource.metadata.uid,
        steps=tuple(step for part in parts for step in part.steps),
        status=boundary.run(status, not_ready),
        previous_status=before,
        due=min((due for due in dues if due > now), default=None),
        passing=ends is Course.SOON,
        errors=tuple(boundary.errors),
    )
