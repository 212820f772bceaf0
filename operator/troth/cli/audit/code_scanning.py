"""The report of an audit for code scanning, as SARIF."""

from importlib.metadata import version
from pathlib import Path
from typing import Any

from troth.audit.finding import Object
from troth.audit.reports.sarif import sarif
from troth.audit.reports.text import plain
from troth.cli.audit.report import Report


def sarif_document(report: Report) -> dict[str, Any]:
    """Return a report as a SARIF log.

    Files below the working directory have relative paths, because code scanning compares them with
    the sources. Input that was not evaluated is a notification, and the run was not successful.
    """

    def place(subject: Object, field: str) -> tuple[str, int] | None:
        found = report.manifests.place(subject, field)
        return (_relative(found[0]), found[1]) if found and _is_file(found[0]) else None

    sources = (each.source for each in report.manifests.documents.values())
    first = next(filter(_is_file, sources), "")
    document = sarif(report.evaluation, place, version("troth"), first and _relative(first))
    (invocation,) = document["runs"][0]["invocations"]
    invocation["executionSuccessful"] = report.is_complete
    invocation["toolExecutionNotifications"] += [
        {"level": "error", "message": {"text": plain(str(fault))}}
        for fault in report.manifests.faults
    ]
    return document


def _is_file(source: str) -> bool:
    return not source.startswith("<")  # standard input


def _relative(file: str) -> str:
    path, here = Path(file), Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else file
