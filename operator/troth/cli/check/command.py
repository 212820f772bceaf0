"""`troth check`: whether manifests are correct, for pull requests and before a commit."""

import asyncio
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from troth.cli.evaluation.basis import (
    Assumed,
    AssumedNamespaces,
    Namespace,
    OwnNamespace,
    gather,
)
from troth.cli.evaluation.finding import SEVERITIES, Report, Severity, is_unreadable
from troth.cli.evaluation.render import Format, write
from troth.cli.exit_codes import ExitCode
from troth.cli.extras import operator_extra
from troth.cli.inputs import sources
from troth.cli.output import console

if TYPE_CHECKING:
    from troth.cli.evaluation.basis import Basis


class FailOn(StrEnum):
    """Least severity with which the exit code is 1."""

    WARNING = "warning"
    ERROR = "error"


def check(
    files: sources.Files = None,
    *,
    namespace: Namespace = "",
    assume: Assumed = None,
    assume_namespace: AssumedNamespaces = None,
    output: Annotated[
        Format, typer.Option("--output", "-o", "--format", help="Output format.")
    ] = Format.TEXT,
    summary: Annotated[
        bool,
        typer.Option(
            "--summary", help="End with counts; in GitHub Actions also on the job's page."
        ),
    ] = False,
    fail_on: Annotated[
        FailOn, typer.Option(help="Least severity of a finding that makes the exit code 1.")
    ] = FailOn.WARNING,
    own_namespace: OwnNamespace = "troth-system",
    kubeconfig: sources.Kubeconfig = None,
    context: sources.Context = None,
) -> None:
    """Check manifests without applying them, and say what is wrong in which line.

    Exit code 0 means no findings, 1 findings, 2 input that cannot be read.

    The command validates the manifests, then runs the operator on them in memory: an edge that only
    one side declares is a finding. It needs no cluster. What exists already, such as namespaces and
    the resources of other teams, comes from --assume, --assume-namespace or --kubeconfig.
    """
    with operator_extra():
        from troth.reconcile import rehearsal as _  # noqa: F401, PLC0415
    basis = gather(
        files,
        namespace=namespace,
        own_namespace=own_namespace,
        assume=assume,
        assume_namespace=assume_namespace,
        kubeconfig=kubeconfig,
        context=context,
    )
    report = checked(basis, datetime.now(UTC))
    for kind in sorted(basis.hidden):
        typer.echo(f"{kind}: omitted, because you are not allowed to list it", err=True)
    write(console(wrap=False), report, output, summary=summary)
    raise typer.Exit(exit_code(report, fail_on))


def checked(basis: "Basis", now: datetime) -> Report:
    """Return the report on manifests.

    If an input cannot be read, the others are not evaluated: they may refer to it.
    """
    from troth.cli.evaluation.evaluate import (  # noqa: PLC0415
        evaluate,
        report_without_evaluation,
    )
    from troth.cli.evaluation.rehearse import rehearse  # noqa: PLC0415

    if is_unreadable(basis.manifests.faults):
        return report_without_evaluation(basis)
    return evaluate(asyncio.run(rehearse(basis, now)))


def exit_code(report: Report, fail_on: FailOn) -> ExitCode:
    """Return the exit code for a report."""
    if report.internal_error:
        return ExitCode.INTERNAL_ERROR
    if report.unreadable:
        return ExitCode.UNUSABLE_INPUT
    failing = SEVERITIES[: SEVERITIES.index(Severity(fail_on.value)) + 1]
    found = any(report.counts[each] for each in failing)
    return ExitCode.FINDINGS if found else ExitCode.CLEAN
