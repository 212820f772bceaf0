"""Statuses: verdicts placed in time, and the summary every resource has."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from troth.planning.plan import Plan
from troth.resources.conditions import Condition, Truth, Verdict, placed
from troth.resources.metadata import Resource
from troth.world.facts import Unreadable
from troth.world.keys import Key

READY, RECONCILING, STALLED = "Ready", "Reconciling", "Stalled"


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
