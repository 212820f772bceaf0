"""Exceptions from rules that have no effect, because they have expired or end too late."""

from collections.abc import Iterator

from troth.audit.exceptions import exceptions
from troth.audit.finding import Evidence, Finding, Fix, Object, Patch
from troth.audit.rule import Rule
from troth.audit.scene import Scene
from troth.resources.findings.exception import ABOUT_EXCEPTIONS, EXCEPTION_LIMIT, FINDING_EXCEPTION
from troth.resources.reported import Severity
from troth.resources.schema.scalars import format_time

FIELD = "spec.expiresAt"
_TOO_LONG = "too long"
_MESSAGES = {
    "ExceptionExpired": "it has expired and excepts nothing; delete it, or decide again and write "
    f"a later {FIELD}",
    "ExceptionTooLong": f"it ends more than {EXCEPTION_LIMIT.days} days ahead, so it excepts "
    f"nothing; write an earlier {FIELD}",
}
_SHOWS = {"ExceptionExpired": "is past", "ExceptionTooLong": "is too far ahead"}


def _find(scene: Scene, namespace: str) -> Iterator[Finding]:
    for each in exceptions(scene, namespace):
        fault = each.fault(scene.now)
        if fault is not None:
            subject = Object(FINDING_EXCEPTION, each.ref)
            evidence = (Evidence(subject, FIELD, _SHOWS[fault]),)
            about = _TOO_LONG if fault == "ExceptionTooLong" else ""
            yield Finding(RULE.id, subject, _MESSAGES[fault], evidence, about)


def _fix(scene: Scene, finding: Finding) -> Fix:
    if finding.about == _TOO_LONG:
        end = format_time(scene.now + EXCEPTION_LIMIT)
        return Fix(patches=(Patch(finding.subject, {"spec": {"expiresAt": end}}),))
    return Fix(steps=(f"Fix what it excepts, then delete {finding.subject}.",))


RULE = Rule(
    id=ABOUT_EXCEPTIONS,
    name="ExpiredFindingException",
    title="A FindingException has expired, or ends too far ahead, and excepts nothing.",
    severity=Severity.LOW,
    reads=frozenset({FINDING_EXCEPTION}),
    find=_find,
    fix=_fix,
)
