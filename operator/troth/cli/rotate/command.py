"""`troth rotate`: ask for a new credential now, and see it come."""

import asyncio
from datetime import UTC, datetime
from typing import Annotated

import typer

from troth.cli.extras import operator_extra
from troth.cli.inputs import sources
from troth.cli.inputs.targets import Cluster, Named, parse_target

INTERRUPTED = 130
OWN_NAMESPACE = "troth-system"


def rotate(
    target: Annotated[
        Named,
        typer.Argument(
            metavar="KIND/NAME",
            parser=parse_target,
            help="Whose credential: sid/payments, or td/production.",
        ),
    ],
    *,
    namespace: Annotated[
        str,
        typer.Option(
            "--namespace",
            "-n",
            help="Where the identity is, if not in the context's namespace; for a TrustDomain the "
            f"one Troth runs in, if not {OWN_NAMESPACE}.",
            show_default=False,
        ),
    ] = "",
    now: Annotated[
        bool, typer.Option("--now", help="Ask for it, instead of printing what to commit.")
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Follow it until it is over.")
    ] = False,
    name: Annotated[
        str,
        typer.Option(help="The CredentialRotation to ask by, where it is not the only one."),
    ] = "",
    compromised: Annotated[
        str,
        typer.Option(
            metavar="FINGERPRINT",
            help="Drop this root or token key of a TrustDomain without waiting for anybody.",
        ),
    ] = "",
    yes: Annotated[
        bool, typer.Option("--yes", help="Drop it though others will be refused.")
    ] = False,
    kubeconfig: Cluster = None,
    context: sources.Context = None,
) -> None:
    """Ask for a new credential of a ServiceIdentity, TrustDomain, MessageBroker or WebhookEndpoint.

    Without --now nothing is changed: what is to be committed is printed.
    """
    if watch and not now:
        raise typer.BadParameter(
            "add --now; `troth status` shows what is under way", param_hint="--watch"
        )
    with operator_extra():
        from troth.cli.inputs.access import home  # noqa: PLC0415
        from troth.cli.rotate.workflow import Wish, carry_out  # noqa: PLC0415
    if not namespace:
        domain = target.kind.name == "TrustDomain"
        namespace = OWN_NAMESPACE if domain else home(kubeconfig, context)
    wish = Wish(target, namespace, name, compromised, now=now, watch=watch, yes=yes)
    try:
        done = asyncio.run(carry_out(wish, kubeconfig, context, datetime.now(UTC)))
    except KeyboardInterrupt:
        shown = f"troth status {target.kind.short_name}/{target.name}"
        typer.echo(f"what was asked for goes on by itself; see {shown}", err=True)
        raise typer.Exit(INTERRUPTED) from None
    raise typer.Exit(0 if done else 1)
