"""The report of `troth check`, and its exit code."""

import asyncio
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from troth.cli.evaluation.basis import Basis
from troth.cli.evaluation.evaluate import evaluate, report_without_evaluation
from troth.cli.evaluation.finding import SEVERITIES, Report, Severity, in_order, is_unreadable
from troth.cli.evaluation.formats import FailOn
from troth.cli.evaluation.rehearse import rehearse
from troth.cli.exit_codes import ExitCode

if TYPE_CHECKING:
    from troth.cli.check.traffic import SeenTraffic


def checked(basis: Basis, now: datetime, seen: "SeenTraffic | None" = None) -> Report:
    """Return the report on manifests, and on traffic that they would deny.

    If an input cannot be read, the others are not evaluated: they may refer to it.
    """
    if is_unreadable(basis.manifests.faults):
        return report_without_evaluation(basis)
    rehearsed = asyncio.run(rehearse(basis, now))
    report = evaluate(rehearsed)
    if seen is None:
        return report
    from troth.cli.check.traffic import traffic_findings  # noqa: PLC0415 - needs the client

    found = traffic_findings(rehearsed, seen)
    return replace(report, findings=in_order([*report.findings, *found]))


def exit_code(report: Report, fail_on: FailOn) -> ExitCode:
    """Return the exit code for a report."""
    if report.internal_error:
        return ExitCode.INTERNAL_ERROR
    if report.unreadable:
        return ExitCode.UNUSABLE_INPUT
    failing = SEVERITIES[: SEVERITIES.index(Severity(fail_on.value)) + 1]
    found = any(report.counts[each] for each in failing)
    return ExitCode.FINDINGS if found else ExitCode.CLEAN
