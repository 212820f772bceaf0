"""Findings about manifests, and the report that they form."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from troth.cli.inputs.documents import UNREADABLE
from troth.cli.quoting import quoted
from troth.resources.faults import ManifestFault, place_in
from troth.resources.schema.sentences import counted


class Severity(StrEnum):
    """Severity of a finding."""

    ERROR = "error"
    """Something that is declared is invalid or does not work."""
    WARNING = "warning"
    """Something that is declared stops working soon."""
    NOTICE = "notice"
    """Something that only a cluster can show, such as the existence of a Secret."""


SEVERITIES = tuple(Severity)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, with its place and what to do about it."""

    severity: Severity
    reason: str
    """CamelCase name of the check that failed."""
    message: str
    kind: str = ""
    namespace: str = ""
    name: str = ""
    field: str = ""
    value: str = ""
    file: str = ""
    line: int = 0
    also: tuple[str, ...] = ()
    """Other resources of which the same is true."""

    @property
    def subject(self) -> str:
        """Kind, namespace and name of the object; empty if the finding is about a file."""
        place = f"{self.namespace}/{self.name}" if self.namespace else self.name
        return f"{self.kind} {place}".strip()

    @property
    def place(self) -> str:
        """File and line as one line of text; empty if the finding is about no file."""
        return quoted(place_in(self.file, self.line))

    @property
    def sentence(self) -> str:
        """Object, field, value and message as one line."""
        parts = (self.subject, self.field, self.value, self.message)
        also = f" (also {', '.join(self.also)})" if self.also else ""
        return quoted(": ".join(part for part in parts if part) + also)

    def line_of_text(self) -> str:
        """Return the finding as compilers print theirs: place, severity, sentence and reason."""
        start = f"{self.place}: " if self.place else ""
        return f"{start}{self.severity}: {self.sentence} [{self.reason}]"

    def document(self) -> dict[str, Any]:
        """Return the finding as JSON, without empty members."""
        members: dict[str, Any] = {
            "severity": self.severity.value,
            "reason": self.reason,
            "kind": self.kind,
            "namespace": self.namespace,
            "name": self.name,
            "field": self.field,
            "value": self.value,
            "file": self.file,
            "line": self.line,
            "message": self.message,
            "also": list(self.also),
        }
        return {name: value for name, value in members.items() if value}


def finding_of(fault: ManifestFault) -> Finding:
    """Return the finding for a fault of a manifest."""
    kind, _, place = fault.subject.partition(" ")
    namespace, slash, name = place.rpartition("/")
    return Finding(
        Severity.ERROR,
        fault.code,
        fault.sentence,
        kind=kind,
        namespace=namespace if slash else "",
        name=name,
        field=fault.field,
        value=fault.value,
        file=fault.source,
        line=fault.line,
    )


@dataclass(frozen=True, slots=True)
class Report:
    """All findings, sorted by place, and what was checked."""

    findings: tuple[Finding, ...]
    files: int
    resources: int
    live_edges: int = 0
    live_grants: int = 0
    unreadable: bool = False
    """Whether an input could not be read. Then only the files themselves were checked."""

    @property
    def counts(self) -> Counter[Severity]:
        """The number of findings of each severity."""
        return Counter(each.severity for each in self.findings)

    @property
    def internal_error(self) -> bool:
        """Whether Troth itself failed."""
        return any(each.reason == "InternalError" for each in self.findings)

    def summary(self) -> str:
        """Return one line that says what was checked and found."""
        found = ", ".join(counted(self.counts[each], each.value) for each in SEVERITIES)
        checked = f"{counted(self.resources, 'resource')} in {counted(self.files, 'file')}"
        if self.unreadable:
            return f"{checked}: {found}; edges and grants were not evaluated"
        live = f"{counted(self.live_edges, 'live edge')}, {counted(self.live_grants, 'grant')}"
        return f"{checked}: {found}; {live}"

    def document(self) -> dict[str, Any]:
        """Return the report as JSON."""
        return {
            "findings": [each.document() for each in self.findings],
            "summary": {
                "files": self.files,
                "resources": self.resources,
                **{f"{each.value}s": self.counts[each] for each in SEVERITIES},
                "liveEdges": self.live_edges,
                "grants": self.live_grants,
                "evaluated": not self.unreadable,
            },
        }


def is_unreadable(faults: Iterable[ManifestFault]) -> bool:
    """Return whether one of the faults is of an input that is no Kubernetes object at all."""
    return any(fault.code in UNREADABLE for fault in faults)


@dataclass(slots=True)
class Merged:
    """Findings by what they say, so that no line is printed twice."""

    _by_text: dict[tuple[str, str, str], list[Finding]] = field(default_factory=dict)

    def add(self, finding: Finding) -> None:
        """Add a finding."""
        alike = (finding.severity.value, finding.reason, finding.message)
        self._by_text.setdefault(alike, []).append(finding)

    def findings(self) -> tuple[Finding, ...]:
        """Return one finding for each text, about what was added first, by file and line."""
        merged = []
        for alike in self._by_text.values():
            first, *others = alike
            also = {each.subject: None for each in others if each.subject != first.subject}
            merged.append(replace(first, also=tuple(also)))
        return in_order(merged)


def in_order(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return findings by file and line; those without a file are last."""
    return tuple(sorted(findings, key=_order))


def _order(finding: Finding) -> tuple[bool, str, int, int, str, str]:
    return (
        not finding.file,
        finding.file,
        finding.line,
        SEVERITIES.index(finding.severity),
        finding.subject,
        finding.message,
    )
