"""The report of an audit: findings with their places, what could not be seen, and the exit code."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from troth.audit.evaluation import Evaluation, severity_of
from troth.audit.finding import Cause, Evidence, Finding, Object, Unseen
from troth.audit.registry import RULE_BY_ID
from troth.audit.reports.text import page_of
from troth.cli.audit.formats import FailOn
from troth.cli.audit.manifests import Manifests
from troth.cli.exit_codes import ExitCode
from troth.cli.quoting import quoted
from troth.resources.faults import place_in
from troth.resources.reported import Severity


@dataclass(frozen=True, slots=True)
class Report:
    """An evaluation of manifests, a cluster, or both."""

    evaluation: Evaluation
    manifests: Manifests
    denied: frozenset[str] = frozenset()
    """Kinds that the API server did not let the user list."""
    failed: bool = False
    """Whether a rule failed because of a bug. The others were evaluated."""

    @property
    def counts(self) -> dict[Severity, int]:
        """The number of findings of each severity, the worst first."""
        counted = Counter(severity_of(each) for each in self.evaluation.findings)
        return {each: counted[each] for each in Severity}

    @property
    def is_complete(self) -> bool:
        """Whether all was evaluated: no rule failed, or lacks a kind or a resource that it reads.

        Secrets that nobody asked for and what a broker does not show do not count.
        """
        unseen = self.evaluation.unseen
        kinds = {kind for each in unseen for kind in each.kinds}
        unreadable = any(each.cause is Cause.UNREADABLE for each in unseen)
        return not (self.failed or self.manifests.faults or self.denied & kinds or unreadable)

    def place(self, subject: Object, field: str = "") -> str:
        """Return file and line of a field of an object as printable text, empty without a file."""
        found = self.manifests.place(subject, field)
        return quoted(place_in(*found)) if found else ""

    def exit_code(self, fail_on: FailOn, *, allow_unseen: bool) -> ExitCode:
        """Return the exit code. An incomplete report is never clean, unless the user allows it."""
        if self.failed:
            return ExitCode.INTERNAL_ERROR
        if self.manifests.faults or not (self.is_complete or allow_unseen):
            return ExitCode.UNUSABLE_INPUT
        worst = Severity(fail_on.value).rank
        failing = any(severity_of(each).rank <= worst for each in self.evaluation.findings)
        return ExitCode.FINDINGS if failing else ExitCode.CLEAN

    def document(self) -> dict[str, Any]:
        """Return the report as JSON. Members of a finding are always the same."""
        return {
            "findings": [self._finding(each) for each in self.evaluation.findings],
            "excepted": [
                {**self._finding(finding), "exception": exception}
                for finding, exception in self.evaluation.excepted
            ],
            "unseen": [
                {"rule": each.rule, "kinds": list(each.kinds), "reason": each.reason}
                for each in self.evaluation.unseen
            ],
            "faults": [
                {"file": each.source, "line": each.line, "message": str(each)}
                for each in self.manifests.faults
            ],
            "summary": {
                **{severity.value: count for severity, count in self.counts.items()},
                "excepted": len(self.evaluation.excepted),
                "files": self.manifests.files,
                "complete": self.is_complete,
            },
        }

    def _finding(self, finding: Finding) -> dict[str, Any]:
        return {
            "id": finding.id,
            "rule": finding.rule,
            "name": RULE_BY_ID[finding.rule].name,
            "severity": severity_of(finding).value,
            "subject": _object(finding.subject),
            "about": finding.about,
            "message": finding.message,
            "owner": finding.owner,
            **self._located(finding.subject, ""),
            "evidence": [self._evidence(each) for each in finding.evidence],
            "page": page_of(finding.rule),
        }

    def _evidence(self, evidence: Evidence) -> dict[str, Any]:
        return {
            "object": _object(evidence.object),
            "field": evidence.field,
            "shows": evidence.shows,
            **self._located(evidence.object, evidence.field),
        }

    def _located(self, subject: Object, field: str) -> dict[str, Any]:
        file, line = self.manifests.place(subject, field) or ("", 0)
        return {"file": file, "line": line}


def _object(found: Object) -> dict[str, str]:
    return {"kind": found.kind, "namespace": found.ref.namespace, "name": found.ref.name}


def by_reason(unseen: Iterable[Unseen]) -> list[tuple[str, str, list[str]]]:
    """Return what could not be seen, why, and the IDs of the rules that lack it, in order."""
    rules: dict[tuple[str, str], list[str]] = {}
    for each in unseen:
        for kind in each.kinds:
            rules.setdefault((kind, each.reason), []).append(each.rule)
    return [(kind, reason, sorted(set(found))) for (kind, reason), found in sorted(rules.items())]
