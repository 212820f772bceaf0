"""Difference between the reports that should exist and those that do."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, NamedTuple

from troth.audit.finding import Finding
from troth.audit.reports.documents import NAME
from troth.audit.reports.results import FINDING
from troth.world.facts.objects import MANAGED_BY

Manifest = dict[str, Any]

Reported = dict[tuple[str, str], datetime]
"""Times at which findings were first reported, by the namespace of the report and the finding's ID.
The namespace of a cluster's report is empty."""

_OWN_NAME = re.compile(rf"{NAME}(-[0-9]{{1,3}})?")
_NOT_CONTENT = ("apiVersion", "kind", "metadata")
"""Members that `_Key` and the labels cover. Other metadata is the API server's."""


class Verb(StrEnum):
    """What to do with a report."""

    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"
    CONFLICT = "conflict"
    """Nothing: a report of that name is not managed by Troth."""


@dataclass(frozen=True, slots=True)
class Change:
    """One change of a report at the API server."""

    verb: Verb
    manifest: Manifest = field(repr=False)
    """For CREATE and UPDATE the report as it should be, for server-side apply without force. For
    DELETE and CONFLICT the report as it is; give its uid as the precondition of the deletion."""


class _Key(NamedTuple):
    group: str
    kind: str
    namespace: str
    name: str


def report_changes(wanted: Iterable[Manifest], existing: Iterable[Manifest]) -> list[Change]:
    """Return the changes that make the existing reports the wanted ones; none if they are equal.

    `existing` are reports as the API server returns them, of all kinds and APIs that it serves, so
    that a report of an API that is no longer written is deleted. A report without the label
    `app.kubernetes.io/managed-by: troth` is somebody else's and is never changed. Updates and
    creations come in the order of `wanted`; deletions come last, so that a finding that moves to
    another report is never in none.
    """
    found = {_key(each): each for each in existing}
    changes: list[Change] = []
    kept: set[_Key] = set()
    for report in wanted:
        key = _key(report)
        kept.add(key)
        current = found.get(key)
        if current is None:
            changes.append(Change(Verb.CREATE, report))
        elif not is_managed(current):
            changes.append(Change(Verb.CONFLICT, current))
        elif not _equal(report, current):
            changes.append(Change(Verb.UPDATE, report))
    changes += [
        Change(Verb.DELETE, found[key])
        for key in sorted(found.keys() - kept)
        if is_managed(found[key])
    ]
    return changes


def is_managed(report: Manifest) -> bool:
    """Return whether a report has Troth's label."""
    return (report["metadata"].get("labels") or {}).get(MANAGED_BY) == "troth"


def first_seen(existing: Iterable[Manifest], now: datetime) -> Reported:
    """Return the time at which each finding was first reported, from Troth's reports.

    An auditor that starts again takes the times from here, so that it writes nothing if nothing
    else has changed. Members of a wrong form and times in the future, which only another client can
    write, are left out.
    """
    times: Reported = {}
    for report in existing:
        results, metadata = report.get("results"), report["metadata"]
        if not (is_managed(report) and _OWN_NAME.fullmatch(metadata["name"])):
            continue
        if not isinstance(results, list):
            continue
        namespace = metadata.get("namespace") or ""
        for result in results:
            if not isinstance(result, dict):
                continue
            identifier, seen = _finding_of(result), _time_of(result)
            place = namespace, identifier
            if identifier and seen and seen <= now and seen < times.get(place, _LATEST):
                times[place] = seen
    return times


def times_of(findings: Iterable[Finding], reported: Reported) -> dict[str, datetime]:
    """Return the times of findings by their IDs.

    A report counts for the findings of its namespace alone. Otherwise a user who may write reports
    there could state when a finding of another namespace was first seen.
    """
    places = {each.id: (each.subject.ref.namespace, each.id) for each in findings}
    return {each: reported[place] for each, place in places.items() if place in reported}


_LATEST = datetime.max.replace(tzinfo=UTC)


def _key(report: Manifest) -> _Key:
    metadata = report["metadata"]
    group = report["apiVersion"].partition("/")[0]
    return _Key(group, report["kind"], metadata.get("namespace") or "", metadata["name"])


def _equal(wanted: Manifest, current: Manifest) -> bool:
    labels = current["metadata"].get("labels") or {}
    named = wanted["metadata"]["labels"].items() <= labels.items()
    return named and _content(wanted) == _content(current)


def _content(report: Manifest) -> Manifest:
    return {name: value for name, value in report.items() if name not in _NOT_CONTENT}


def _finding_of(result: Manifest) -> str:
    properties = result.get("properties")
    found = properties.get(FINDING) if isinstance(properties, dict) else None
    return found if isinstance(found, str) else ""


def _time_of(result: Manifest) -> datetime | None:
    timestamp = result.get("timestamp")
    seconds = timestamp.get("seconds") if isinstance(timestamp, dict) else None
    if not isinstance(seconds, int) or isinstance(seconds, bool):
        return None
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):
        return None
