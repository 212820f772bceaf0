"""Prints the report of an audit as text or Markdown."""

from collections.abc import Iterator
from itertools import groupby

from rich.console import Console
from rich.text import Text

from troth.audit.evaluation import severity_of
from troth.audit.finding import Evidence, Finding
from troth.audit.registry import RULE_BY_ID
from troth.audit.reports.text import (
    LONGEST_EVIDENCE,
    MOST_EVIDENCE,
    markdown,
    markdown_lines,
    plain,
)
from troth.cli.audit.report import Report, by_reason
from troth.resources.reported import Severity

STYLES = {
    Severity.CRITICAL: "bold red",
    Severity.HIGH: "red",
    Severity.MEDIUM: "yellow",
    Severity.LOW: "cyan",
    Severity.INFO: "dim",
}


def show(console: Console, report: Report, command: str, *, excepted: bool) -> None:
    """Print a report as text. `command` is the command line that shows a fix, without the ID.

    With `excepted`, the findings that somebody accepts follow with their exceptions.
    """
    for (severity, rule), findings in groupby(
        report.evaluation.findings, key=lambda each: (severity_of(each), each.rule)
    ):
        _show_rule(console, severity, rule)
        for finding in findings:
            _show_finding(console, report, finding)
    if excepted and report.evaluation.excepted:
        console.print(Text("excepted", "bold"))
        for finding, exception in report.evaluation.excepted:
            _show_finding(console, report, finding, f"{finding.rule}, FindingException {exception}")
    _print(console, Text(summary(report), "bold"))
    if report.evaluation.unseen:
        _print(console, Text("Not seen, so that the absence of findings says nothing:"))
        for kind, reason, rules in by_reason(report.evaluation.unseen):
            line = f"{kind} ({reason}): {', '.join(rules)}"
            _print(console, Text(plain(line), "yellow"), indent=2)
    if report.evaluation.findings:
        # as one line, however long, so that it can be copied
        worst = report.evaluation.findings[0]
        console.print(f"See a fix: {command} {worst.id}", markup=False, soft_wrap=True)


def summary(report: Report) -> str:
    """Return one line with the number of findings of each severity."""
    counts = ", ".join(f"{count} {each.value}" for each, count in report.counts.items() if count)
    total = len(report.evaluation.findings)
    told = f"{total} finding{'' if total == 1 else 's'}: {counts}" if total else "no findings"
    if not total and (report.evaluation.unseen or report.manifests.faults):
        told = "no findings in what was seen"
    excepted = len(report.evaluation.excepted)
    return f"{told}; {excepted} excepted" if excepted else told


def _show_rule(console: Console, severity: Severity, rule: str) -> None:
    known = RULE_BY_ID[rule]
    head = Text.assemble(
        (severity.value, STYLES[severity]),
        (f"  {rule} {known.name}", "bold"),
        f"  {known.title.replace('`', '')}",
    )
    _print(console, head)


def _print(console: Console, text: Text, indent: int = 0) -> None:
    """Print a text in lines that fit and do not end with spaces, as `Padding` would fill them."""
    for line in text.wrap(console, max(console.width - indent, 1)):
        line.rstrip()
        console.print(Text.assemble(" " * indent, line), soft_wrap=True)


def _show_finding(console: Console, report: Report, finding: Finding, more: str = "") -> None:
    owner = f"  owner {finding.owner}" if finding.owner else ""
    head = Text.assemble(
        (plain(str(finding.subject)), "bold"),
        (plain(f"  {finding.id}{owner}{f'  {more}' if more else ''}"), "dim"),
    )
    _print(console, head, indent=2)
    _print(console, Text(plain(finding.message)), indent=4)
    for line in _evidence(report, finding):
        _print(console, Text(line, "dim"), indent=6)


def _evidence(report: Report, finding: Finding) -> Iterator[str]:
    for each in finding.evidence[:MOST_EVIDENCE]:
        place = report.place(each.object, each.field)
        yield f"{_clause(each, finding)}{f'  {place}' if place else ''}"
    left = len(finding.evidence) - MOST_EVIDENCE
    if left > 0:
        yield f"and {left} more"


def _clause(evidence: Evidence, finding: Finding) -> str:
    """Return evidence as a line, without the object if that is the finding's own."""
    alone = evidence.object == finding.subject and evidence.field
    shown = f"{evidence.field}: {evidence.shows}".removesuffix(": ") if alone else evidence.sentence
    return plain(shown, LONGEST_EVIDENCE)


def markdown_report(report: Report, *, excepted: bool) -> str:
    """Return a report as Markdown, such as for the summary of a job."""
    lines = ["### troth audit", "", f"{summary(report)}.", ""]
    for finding in report.evaluation.findings:
        lines += markdown_lines(finding)
    if excepted and report.evaluation.excepted:
        lines += ["", "Excepted:", ""]
        for finding, exception in report.evaluation.excepted:
            told = f"{finding.rule} {finding.subject}, FindingException {exception}"
            lines.append(f"- {markdown(told)}")
    if report.evaluation.unseen:
        lines += ["", "Not seen, so that the absence of findings says nothing:", ""]
        for kind, reason, rules in by_reason(report.evaluation.unseen):
            told = f"{kind} ({reason}): {', '.join(rules)}"
            lines.append(f"- {markdown(told)}")
    return "\n".join(lines).rstrip() + "\n"
