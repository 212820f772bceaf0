"""`troth plan`: preview what applying manifests would change."""

import asyncio
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console

from troth.cli.inputs import sources
from troth.resources.manifests import Manifest

CHANGES = 2
"""Exit code if there are changes."""

READ = (
    "TrustDomain",
    "ServiceIdentity",
    "MessageBroker",
    "TopicPolicy",
    "WebhookEndpoint",
    "CredentialRotation",
    "Namespace",
    "Service",
    "EndpointSlice",
    "Secret",
    "ConfigMap",
    "NetworkPolicy",
)


def plan(
    files: sources.Files = None,
    kubeconfig: sources.Kubeconfig = None,
    context: sources.Context = None,
    own_namespace: Annotated[
        str, typer.Option("--namespace", help="Namespace that Troth runs in.")
    ] = "troth-system",
) -> None:
    """Show what applying these manifests would change. Exit code 0 means no changes, 2 changes.

    Without --kubeconfig, the manifests are compared with an empty cluster.
    """
    if not files:
        raise typer.BadParameter("no input; name manifests with -f")
    from troth.cli.inputs.snapshot import read_cluster  # noqa: PLC0415
    from troth.cli.plan.preview import preview  # noqa: PLC0415

    manifests = sources.read(files)
    before: list[Manifest] = sources.initial_objects()
    hidden: frozenset[str] = frozenset()
    if kubeconfig is not None:
        snapshot = asyncio.run(read_cluster(kubeconfig, context, READ, own_namespace))
        before, hidden = snapshot.objects, snapshot.hidden
    console = Console(highlight=False, soft_wrap=True)
    now = datetime.now(UTC)
    changed = asyncio.run(preview(console, manifests, before, hidden, own_namespace, now))
    raise typer.Exit(CHANGES if changed else 0)
