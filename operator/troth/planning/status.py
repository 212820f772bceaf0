"""Statuses: conditions with transition times, and the summary conditions of every resource."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Protocol

from pydantic import ValidationError

from troth.planning.plan import Plan
from troth.resources.conditions import Condition, Truth, Verdict, placed
from troth.resources.metadata import Resource
from troth.world.facts.objects import Unreadable
from troth.world.keys import Key

TERMINATING = "Terminating"
"""Reason of a resource that is being deleted. It passes without manual action once the holders of
its finalizers remove them."""
MOST_FINALIZERS = 3
"""Maximum number of finalizers that a message lists."""
READY, RECONCILING, STALLED = "Ready", "Reconciling", "Stalled"


class Status(Protocol):
    """The status of any resource."""

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """The current conditions."""

    def manifest(self) -> dict[str, Any]:
        """Return the status as the API server stores it."""


def true(type_: str, reason: str, message: str = "") -> Verdict:
    """Return a condition whose status is True."""
    return Verdict(type=type_, status=Truth.TRUE, reason=reason, message=message)


def false(type_: str, reason: str, message: str = "") -> Verdict:
    """Return a condition whose status is False."""
    return Verdict(type=type_, status=Truth.FALSE, reason=reason, message=message)


def unknown(type_: str, reason: str, message: str = "") -> Verdict:
    """Return a condition whose status is Unknown."""
    return Verdict(type=type_, status=Truth.UNKNOWN, reason=reason, message=message)


def summed_up(needed: Iterable[Verdict], on_its_way: frozenset[str]) -> tuple[Verdict, ...]:
    """Return Ready, Reconciling and Stalled. Ready is True if every condition in `needed` is.

    A resource that is not ready is Reconciling if the reason is in `on_its_way`, and otherwise
    Stalled, which needs manual action. kstatus, and with it Flux and Argo CD, distinguishes the
    two.
    """
    missing = next((verdict for verdict in needed if verdict.status is not Truth.TRUE), None)
    if missing is None:
        return (
            true(READY, "InPlace", "everything declared is in place"),
            false(RECONCILING, "Settled"),
            false(STALLED, "Settled"),
        )
    coming = missing.reason in on_its_way
    flag = true if coming else false
    return (
        false(READY, missing.reason, missing.message),
        flag(RECONCILING, missing.reason if coming else "Stalled"),
        (false if coming else true)(STALLED, "Reconciling" if coming else missing.reason),
    )


def termination(resource: Resource, consequence: str) -> Verdict:
    """Return the condition of a resource that is being deleted: consequence and finalizers."""
    metadata = resource.metadata
    name = f"{metadata.namespace}/{metadata.name}" if metadata.namespace else metadata.name
    held = ", ".join(metadata.finalizers[:MOST_FINALIZERS])
    message = f"{resource.kind} {name} is being deleted: {consequence}"
    waits = f"; to complete the deletion, remove these finalizers: {held}" if held else ""
    return false("Terminating", TERMINATING, message + waits)


def waits_for(summary: Iterable[Verdict], reasons: frozenset[str]) -> bool:
    """Return whether the resource is not ready for one of these reasons."""
    ready = next(verdict for verdict in summary if verdict.type == READY)
    return ready.status is not Truth.TRUE and ready.reason in reasons


def conditions(
    resource: Resource, previous: tuple[Condition, ...], verdicts: Iterable[Verdict], now: datetime
) -> list[dict[str, Any]]:
    """Return the conditions of a status as the API server stores them."""
    generation = resource.metadata.generation
    return [placed(verdict, previous, generation, now).manifest() for verdict in verdicts]


def terminating_plan(
    gone: Plan, resource: Resource, status: Status, consequence: str, now: datetime
) -> Plan:
    """Return the plan of a resource that is being deleted.

    It has the steps of `gone`, the plan of a deleted resource, and a status that reports the
    deletion.
    """
    summary = summed_up([termination(resource, consequence)], frozenset({TERMINATING}))
    previous = status.manifest()
    return replace(
        gone,
        uid=resource.metadata.uid,
        status=previous
        | {
            "observedGeneration": resource.metadata.generation,
            "conditions": conditions(resource, status.conditions, summary, now),
        },
        previous_status=previous,
    )


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
    verdicts = (
        false(READY, "InvalidSpec", found.because),
        false(RECONCILING, "Stalled"),
        true(STALLED, "InvalidSpec", found.because),
    )
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
