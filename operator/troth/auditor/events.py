"""Events about new findings of severity high or critical, on their subjects."""

import uuid
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta

from troth.audit.evaluation import severity_of
from troth.audit.finding import Finding, Object
from troth.audit.registry import RULE_BY_ID
from troth.audit.reports import text
from troth.audit.reports.results import API_VERSIONS
from troth.resources.reported import Severity
from troth.world.facts.objects import Manifest

MOST_EVENTS = 50
"""Maximum number of Events about one evaluation, the worst findings first. Reports have all."""
NOTE_LIMIT = 1024
"""Maximum length of a note in bytes, the API server's limit."""

_TOLD = frozenset({Severity.CRITICAL, Severity.HIGH})


def worth_an_event(findings: Iterable[Finding]) -> Iterator[Finding]:
    """Yield the findings of severity high and critical."""
    return (each for each in findings if severity_of(each) in _TOLD)


def event(finding: Finding, subject_uid: str, instance: str, now: datetime) -> Manifest:
    """Return an `events.k8s.io/v1` Event about a finding.

    `subject_uid` may be empty; `kubectl describe` then does not show the Event at its subject.
    """
    ref = finding.subject.ref
    microseconds = (now - datetime.fromtimestamp(0, UTC)) // timedelta(microseconds=1)
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {
            "name": f"{ref.name[:200].rstrip('-.')}.{microseconds:x}{uuid.uuid4().hex[:6]}",
            "namespace": ref.namespace or "default",
        },
        "eventTime": now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "regarding": _regarding(finding.subject, subject_uid),
        "reason": RULE_BY_ID[finding.rule].name,
        "note": _note(finding),
        "type": "Warning",
        "action": "Audit",
        "reportingController": "troth.dev/auditor",
        "reportingInstance": instance,
    }


def _note(finding: Finding) -> str:
    note = text.plain(f"{finding.id}: {finding.message}")
    return note.encode()[:NOTE_LIMIT].decode(errors="ignore")


def _regarding(subject: Object, uid: str) -> Manifest:
    kind, ref = subject
    regarding = {"kind": kind, "name": ref.name}
    if kind in API_VERSIONS:
        regarding["apiVersion"] = API_VERSIONS[kind]
    if ref.namespace:
        regarding["namespace"] = ref.namespace
    if uid:
        regarding["uid"] = uid
    return regarding
