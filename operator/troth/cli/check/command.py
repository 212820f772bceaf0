"""`troth check`: whether manifests are correct, for pull requests and before a commit."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from troth.cli.evaluation.basis import (
    Against,
    Assumed,
    AssumedNamespaces,
    Namespace,
    gather,
)
from troth.cli.evaluation.formats import FailOn, Format
from troth.cli.inputs import sources
from troth.cli.inputs.files import STDIN
from troth.cli.inputs.namespaces import OWN_NAMESPACE, OwnNamespace
from troth.cli.inputs.watched import WatchedNamespaces
from troth.cli.output import console


def check(
    files: sources.Files = None,
    *,
    namespace: Namespace = "",
    assume: Assumed = None,
    assume_namespace: AssumedNamespaces = None,
    watched_namespaces: WatchedNamespaces = "",
    against: Against = None,
    traffic: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Traffic that was seen, from troth learn --save-traffic. Findings say what "
            "enforcement would deny.",
        ),
    ] = None,
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
    own_namespace: OwnNamespace = OWN_NAMESPACE,
    kubeconfig: sources.Kubeconfig = None,
    context: sources.Context = None,
) -> None:
    """Check manifests without applying them, and say what is wrong in which line.

    Exit code 0 means no findings, 1 findings, 2 input that cannot be read.

    The command validates the manifests, then runs the operator on them in memory: an edge that only
    one side declares is a finding. It needs no cluster. What exists already, such as namespaces and
    the resources of other teams, comes from --assume, --assume-namespace or --kubeconfig.
    With --traffic, connections that were seen and that enforcement would deny are findings.
    A change of a message schema is compared with the schema in the cluster, or in --against.
    """
    from troth.cli.check.outcome import checked, exit_code  # noqa: PLC0415
    from troth.cli.evaluation.render import write  # noqa: PLC0415

    basis = gather(
        files,
        namespace=namespace,
        own_namespace=own_namespace,
        assume=assume,
        assume_namespace=assume_namespace,
        watched_namespaces=watched_namespaces,
        kubeconfig=kubeconfig,
        context=context,
        against=against,
    )
    seen = None
    if traffic is not None:
        from troth.cli.check.traffic import seen_traffic  # noqa: PLC0415

        manifests = [each for each in (*(files or ()), *(assume or ())) if each != STDIN]
        seen = seen_traffic(
            traffic, manifests, namespace, own_namespace, kubeconfig, context, watched_namespaces
        )
    report = checked(basis, datetime.now(UTC), seen)
    write(console(wrap=False), report, output, summary=summary)
    raise typer.Exit(exit_code(report, fail_on))
