"""Statuses: conditions with transition times, and the summary conditions of every resource."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from troth.planning.plan import Plan
from troth.planning.reasons.condition import Course
from troth.planning.reasons.table import TERMINATING
from troth.resources.conditions import Condition, Truth, Verdict, placed
from troth.resources.metadata import Resource
from troth.world.facts.objects import Fault, Unreadable
from troth.world.keys import Key

LISTED = 5
"""Maximum number of names that a message lists."""
MOST_FINALIZERS = 3
"""Maximum number of finalizers that a message lists."""
READY, RECONCILING, STALLED = "Ready", "Reconciling", "Stalled"
INVALID_SPEC = "InvalidSpec"
"""Reason of a resource that Troth cannot read."""


def some(names: Sequence[str]) -> str:
    """Return the first names of a list as a message lists them."""
    return ", ".join(names[:LISTED]) + (" and others" if len(names) > LISTED else "")


def true(type_: str, reason: str, message: str = "") -> Verdict:
    """Return a condition whose status is True."""
    return Verdict(type=type_, status=Truth.TRUE, reason=reason, message=message)


def false(type_: str, reason: str, message: str = "") -> Verdict:
    """Return a condition whose status is False."""
    return Verdict(type=type_, status=Truth.FALSE, reason=reason, message=message)


def unknown(type_: str, reason: str, message: str = "") -> Verdict:
    """Return a condition whose status is Unknown."""
    return Verdict(type=type_, status=Truth.UNKNOWN, reason=reason, message=message)


def faulty(type_: str, fault: Fault | None) -> Verdict | None:
    """Return the false condition with the reason of a fault, None without a fault."""
    return false(type_, fault.reason, fault.message) if fault is not None else None


def first_missing(needed: Iterable[Verdict]) -> Verdict | None:
    """Return the first condition that is not True, None if all are."""
    return next((verdict for verdict in needed if verdict.status is not Truth.TRUE), None)


def summed_up(missing: Verdict | None, course: Course | None) -> tuple[Verdict, ...]:
    """Return Ready, Reconciling and Stalled.

    `missing` is the first condition that is not True, and `course` is what ends its reason.
    """
    if missing is None:
        return (
            true(READY, "InPlace", "everything declared is in place"),
            false(RECONCILING, "Settled"),
            false(STALLED, "Settled"),
        )
    ready = false(READY, missing.reason, missing.message)
    summary = stalled if course is Course.STAYS else _reconciling
    return (ready, *summary(ready))


def stalled(ready: Verdict) -> tuple[Verdict, Verdict]:
    """Return Reconciling and Stalled of a resource that is not ready until a person acts.

    The true one has the reason and the message of `ready`, because kstatus shows its message.
    """
    return false(RECONCILING, STALLED), true(STALLED, ready.reason, ready.message)


def _reconciling(ready: Verdict) -> tuple[Verdict, Verdict]:
    """Return the same of a resource that becomes ready without manual action."""
    return true(RECONCILING, ready.reason, ready.message), false(STALLED, RECONCILING)


def not_stalled_yet(
    status: Mapping[str, Any], previous: Mapping[str, Any], now: datetime
) -> dict[str, Any]:
    """Return the status of a stalled resource as that of one in progress.

    `previous` is the current status. It provides the transition times of unchanged conditions.
    """
    known = readable_conditions(previous)
    ready = next(each for each in readable_conditions(status) if each.type == READY)
    verdict = Verdict(type=READY, status=ready.status, reason=ready.reason, message=ready.message)
    changed = {
        each.type: placed(each, known, status["observedGeneration"], now).manifest()
        for each in _reconciling(verdict)
    }
    conditions = [changed.get(each["type"], each) for each in status["conditions"]]
    return {**status, "conditions": conditions}


def termination(resource: Resource, consequence: str) -> Verdict:
    """Return the condition of a resource that is being deleted: consequence and finalizers."""
    metadata = resource.metadata
    name = f"{metadata.namespace}/{metadata.name}" if metadata.namespace else metadata.name
    held = ", ".join(metadata.finalizers[:MOST_FINALIZERS])
    message = f"{resource.kind} {name} is being deleted: {consequence}"
    waits = f"; to complete the deletion, remove these finalizers: {held}" if held else ""
    return false(TERMINATING, TERMINATING, message + waits)


def conditions(
    resource: Resource, previous: tuple[Condition, ...], verdicts: Iterable[Verdict], now: datetime
) -> list[dict[str, Any]]:
    """Return the conditions of a status as the API server stores them."""
    generation = resource.metadata.generation
    return [placed(verdict, previous, generation, now).manifest() for verdict in verdicts]


def readable_conditions(status: Mapping[str, Any]) -> tuple[Condition, ...]:
    """Return the valid conditions of a status as an object has it."""
    found = []
    for condition in status.get("conditions") or ():
        try:
            found.append(Condition.model_validate(condition))
        except ValidationError:
            continue
    return tuple(found)


def unreadable_plan(key: Key, found: Unreadable, now: datetime) -> Plan:
    """Return the plan of a resource whose spec is invalid: a status with the error, no steps.

    The rest of the status stays, because Troth relies on it once the spec can be read again.
    """
    manifest = found.manifest
    before = manifest.get("status") or {}
    previous = readable_conditions(before)
    generation = manifest["metadata"].get("generation", 0)
    ready = false(READY, INVALID_SPEC, found.because)
    verdicts = (ready, *stalled(ready))
    status = {
        **before,
        "observedGeneration": generation,
        "conditions": [
            placed(verdict, previous, generation, now).manifest() for verdict in verdicts
        ],
    }
    return Plan(
        key,
        manifest["metadata"]["uid"],
        status=status,
        previous_status=before,
    )
