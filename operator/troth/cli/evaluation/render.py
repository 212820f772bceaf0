"""Prints a report as text, JSON, YAML, GitHub annotations or a GitLab code quality report."""

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from troth.cli.evaluation.finding import Finding, Report, Severity
from troth.cli.evaluation.formats import Format
from troth.cli.output import structured

STYLES = {Severity.ERROR: "red", Severity.WARNING: "yellow", Severity.NOTICE: "cyan"}
_GITLAB = {Severity.ERROR: "major", Severity.WARNING: "minor", Severity.NOTICE: "info"}


def write(console: Console, report: Report, form: Format, *, summary: bool) -> None:
    """Print a report. With `summary`, text and annotations end with a line of counts."""
    match form:
        case Format.JSON | Format.YAML:
            console.file.write(structured(report.document(), form))
        case Format.GITLAB:
            console.file.write(f"{json.dumps(list(gitlab_issues(report)), indent=2)}\n")
        case Format.GITHUB:
            for finding in report.findings:
                console.file.write(f"{github_annotation(finding)}\n")
            if summary:
                console.file.write(f"{report.summary()}\n")
                _write_step_summary(report)
        case Format.TEXT:
            show(console, report.findings)
            if summary:
                console.print(report.summary(), style="bold", markup=False)


def show(console: Console, findings: tuple[Finding, ...]) -> None:
    """Print each finding on a line."""
    for finding in findings:
        console.print(finding.line_of_text(), style=STYLES[finding.severity], markup=False)


def github_annotation(finding: Finding) -> str:
    """Return a finding as a workflow command of GitHub Actions.

    https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands
    """
    properties = {
        "file": _relative(finding.file),
        "line": str(finding.line) if finding.line else "",
        "title": finding.reason,
    }
    if finding.file.startswith("<"):
        properties["file"] = properties["line"] = ""
    written = ",".join(f"{name}={_property(value)}" for name, value in properties.items() if value)
    place = f"{finding.place}: " if finding.file.startswith("<") else ""
    return f"::{finding.severity} {written}::{_data(place + finding.sentence)}"


def gitlab_issues(report: Report) -> Iterator[dict[str, object]]:
    """Yield findings as GitLab's code quality report has them.

    https://docs.gitlab.com/ci/testing/code_quality/#code-quality-report-format
    """
    for finding in report.findings:
        file = _relative(finding.file)
        identity = f"{finding.reason}\0{file}\0{finding.sentence}"
        yield {
            "description": finding.sentence,
            "check_name": finding.reason,
            "fingerprint": hashlib.sha256(identity.encode()).hexdigest(),
            "severity": _GITLAB[finding.severity],
            "location": {"path": file, "lines": {"begin": max(finding.line, 1)}},
        }


def _write_step_summary(report: Report) -> None:
    """Append the summary to the page of the GitHub Actions job, if there is one."""
    page = os.environ.get("GITHUB_STEP_SUMMARY")
    if not page:
        return
    rows = [
        f"| {each.severity} | {_cell(each.place)} | {_cell(each.sentence)} | {each.reason} |\n"
        for each in report.findings
    ]
    head = "\n| severity | place | finding | reason |\n| --- | --- | --- | --- |\n"
    with Path(page).open("a", encoding="utf-8") as file:
        file.write(f"### troth check\n\n{report.summary()}\n{head if rows else ''}{''.join(rows)}")


def _cell(text: str) -> str:
    """Return text that is no markup in a table of GitHub's Markdown."""
    for character in "\\`*_{}[]<>|#!~":
        text = text.replace(character, f"\\{character}")
    return text


def _relative(file: str) -> str:
    """Return a path relative to the working directory, if it is below it."""
    path = Path(file)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else file


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
