"""`troth rotate`: request a credential rotation and follow it."""

import asyncio
from datetime import UTC, datetime
from typing import Annotated

import typer

from troth.cli.exit_codes import ExitCode
from troth.cli.inputs import sources
from troth.cli.inputs.namespaces import OWN_NAMESPACE
from troth.cli.inputs.targets import Cluster, Named, parse_target
from troth.cli.output import Structured, StructuredOption


def rotate(
    target: Annotated[
        Named,
        typer.Argument(
            metavar="KIND/NAME",
            parser=parse_target,
            help="Resource whose credential to rotate, such as sid/payments or td/production.",
        ),
    ],
    *,
    namespace: Annotated[
        str,
        typer.Option(
            "--namespace",
            "-n",
            help="Namespace of the resource. Defaults to the context's; for a TrustDomain to "
            f"{OWN_NAMESPACE}, the namespace Troth runs in.",
            show_default=False,
        ),
    ] = "",
    now: Annotated[
        bool, typer.Option("--now", help="Apply the request instead of printing a manifest.")
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Follow the rotation until it ends.")
    ] = False,
    name: Annotated[
        str,
        typer.Option(help="CredentialRotation to use, if the resource has more than one."),
    ] = "",
    compromised: Annotated[
        str,
        typer.Option(
            metavar="FINGERPRINT",
            help="Revoke this root or token key of a TrustDomain without waiting for its users.",
        ),
    ] = "",
    yes: Annotated[
        bool, typer.Option("--yes", help="Confirm --compromised: its users are rejected.")
    ] = False,
    output: StructuredOption = Structured.YAML,
    kubeconfig: Cluster = None,
    context: sources.Context = None,
) -> None:
    """Rotate the credential of a ServiceIdentity, TrustDomain, MessageBroker or WebhookEndpoint.

    Without --now, nothing is changed: the command prints a manifest to commit.
    """
    if watch and not now:
        raise typer.BadParameter(
            "add --now; `troth status` shows rotations in progress", param_hint="--watch"
        )
    from troth.cli.inputs.access import home  # noqa: PLC0415
    from troth.cli.rotate.workflow import Arguments, carry_out  # noqa: PLC0415

    if not namespace:
        domain = target.kind.name == "TrustDomain"
        namespace = OWN_NAMESPACE if domain else home(kubeconfig, context)
    arguments = Arguments(
        target, namespace, name, compromised, now=now, watch=watch, yes=yes, output=output
    )
    try:
        done = asyncio.run(carry_out(arguments, kubeconfig, context, datetime.now(UTC)))
    except KeyboardInterrupt:
        shown = f"troth status {target.kind.short_name}/{target.name}"
        typer.echo(f"a requested rotation continues in the cluster; see {shown}", err=True)
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    raise typer.Exit(ExitCode.CLEAN if done else ExitCode.FINDINGS)
