"""`troth check`: whether manifests are correct, for pull requests and before a commit."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from troth.cli.evaluation.basis import (
    Assumed,
    AssumedNamespaces,
    Namespace,
    gather,
)
from troth.cli.evaluation.formats import FailOn, Format
from troth.cli.inputs import sources
from troth.cli.output import console


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
    own_namespace: sources.OwnNamespace = sources.OWN_NAMESPACE,
    kubeconfig: sources.Kubeconfig = None,
    context: sources.Context = None,
) -> None:
    """Check manifests without applying them, and say what is wrong in which line.

    Exit code 0 means no findings, 1 findings, 2 input that cannot be read.

    The command validates the manifests, then runs the operator on them in memory: an edge that only
    one side declares is a finding. It needs no cluster. What exists already, such as namespaces and
    the resources of other teams, comes from --assume, --assume-namespace or --kubeconfig.
    """
    from troth.cli.check.outcome import checked, exit_code  # noqa: PLC0415
    from troth.cli.evaluation.render import write  # noqa: PLC0415

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
    write(console(wrap=False), report, output, summary=summary)
    raise typer.Exit(exit_code(report, fail_on))
