"""Statuses: verdicts placed in time, and the summary every resource has."""

from collections.abc import Iterable
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
"""The reason of a resource that is being deleted, which ends without a person's doing if whatever
holds it goes on."""
MOST_FINALIZERS = 3
"""How many of a resource's finalizers a message lists."""
READY, RECONCILING, STALLED = "Ready", "Reconciling", "Stalled"


class Status(Protocol):
    """The status of any resource."""

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """Its conditions as they stand."""

    def manifest(self) -> dict[str, Any]:
        """Return it as the API server has it."""


def true(type_: str, reason: str, message: str = "") -> Verdict:
    """Return that something holds."""
    return Verdict(type=type_, status=Truth.TRUE, reason=reason, message=message)


def false(type_: str, reason: str, message: str = "") -> Verdict:
    """Return that something does not hold."""
    return Verdict(type=type_, status=Truth.FALSE, reason=reason, message=message)


def unknown(type_: str, reason: str, message: str = "") -> Verdict:
    """Return that something cannot be told."""
    return Verdict(type=type_, status=Truth.UNKNOWN, reason=reason, message=message)


def summed_up(needed: Iterable[Verdict], on_its_way: frozenset[str]) -> tuple[Verdict, ...]:
    """Return Ready, Reconciling and Stalled: ready when everything needed holds.

    What is not ready is either on its way, for the reasons listed, or needs a person; so that
    kstatus, and with it Flux and Argo CD, can tell one from the other.
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
    """Return that a resource is being deleted, what follows from that, and what holds it."""
    metadata = resource.metadata
    name = f"{metadata.namespace}/{metadata.name}" if metadata.namespace else metadata.name
    held = ", ".join(metadata.finalizers[:MOST_FINALIZERS])
    message = f"{resource.kind} {name} is being deleted: {consequence}"
    waits = f"; to complete the deletion, remove these finalizers: {held}" if held else ""
    return false("Terminating", TERMINATING, message + waits)


def waits_for(summary: Iterable[Verdict], reasons: frozenset[str]) -> bool:
    """Say whether something is not ready for one of these reasons."""
    ready = next(verdict for verdict in summary if verdict.type == READY)
    return ready.status is not Truth.TRUE and ready.reason in reasons


def conditions(
    resource: Resource, previous: tuple[Condition, ...], verdicts: Iterable[Verdict], now: datetime
) -> list[dict[str, Any]]:
    """Return the conditions of a status as the API server has them."""
    generation = resource.metadata.generation
    return [placed(verdict, previous, generation, now).manifest() for verdict in verdicts]


def terminating_plan(
    gone: Plan, resource: Resource, status: Status, consequence: str, now: datetime
) -> Plan:
    """Return the plan of a resource that is being deleted: what is done for one that is `gone`, and
    a status that says so.
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


def unreadable_plan(key: Key, found: Unreadable, now: datetime) -> Plan:
    """Return the plan of a resource whose spec cannot be understood: a status that says so."""
    manifest = found.manifest
    before = (manifest.get("status") or {}).get("conditions") or []
    previous = []
    for condition in before:
        try:
            previous.append(Condition.model_validate(condition))
        except ValidationError:
            continue
    generation = manifest["metadata"].get("generation", 0)
    verdicts = (
        false(READY, "InvalidSpec", found.because),
        false(RECONCILING, "Stalled"),
        true(STALLED, "InvalidSpec", found.because),
    )
    status = {
        "observedGeneration": generation,
        "conditions": [
            placed(verdict, tuple(previous), generation, now).manifest() for verdict in verdicts
        ],
    }
    return Plan(
        key,
        manifest["metadata"]["uid"],
        status=status,
        previous_status=manifest.get("status") or {},
    )
