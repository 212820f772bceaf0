"""`troth plan`: preview what applying manifests would change."""

import asyncio
from datetime import UTC, datetime

import typer

from troth.cli.evaluation.basis import Assumed, AssumedNamespaces, Namespace, gather
from troth.cli.exit_codes import ExitCode
from troth.cli.inputs import sources
from troth.cli.inputs.namespaces import OWN_NAMESPACE, OwnNamespace
from troth.cli.inputs.watched import WatchedNamespaces
from troth.cli.output import Output, OutputOption, console, structured
from troth.cluster.connection.imports import without
from troth.resources.faults import FaultyManifests


def plan(
    files: sources.Files = None,
    *,
    namespace: Namespace = "",
    assume: Assumed = None,
    assume_namespace: AssumedNamespaces = None,
    watched_namespaces: WatchedNamespaces = "",
    output: OutputOption = Output.TEXT,
    own_namespace: OwnNamespace = OWN_NAMESPACE,
    kubeconfig: sources.Kubeconfig = None,
    context: sources.Context = None,
) -> None:
    """Show what applying these manifests would change.

    Exit code 0 means that nothing would change, 1 that something would change or needs attention, 2
    that the manifests are invalid.

    Without --kubeconfig, the manifests are compared with an empty cluster.
    """
    with without("rich.traceback"):
        from troth.cli.plan.preview import preview  # noqa: PLC0415
        from troth.cli.plan.render import show  # noqa: PLC0415

    basis = gather(
        files,
        namespace=namespace,
        own_namespace=own_namespace,
        assume=assume,
        assume_namespace=assume_namespace,
        watched_namespaces=watched_namespaces,
        kubeconfig=kubeconfig,
        context=context,
    )
    if basis.manifests.faults:
        raise FaultyManifests(basis.manifests.faults)
    found = asyncio.run(preview(basis, datetime.now(UTC)))
    if output is Output.TEXT:
        show(console(wrap=False), found)
    else:
        typer.echo(structured(found.document(), output), nl=False)
    raise typer.Exit(ExitCode.FINDINGS if found.changes_something else ExitCode.CLEAN)
