"""`troth status`: the state of every resource, from trust domains to webhooks."""

import asyncio
import json
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from troth.cli.inputs import sources
from troth.cli.inputs.targets import Cluster, Named, parse_target
from troth.cli.status.render import WIDTH, show
from troth.cli.status.report import Report


class Output(StrEnum):
    """Output format."""

    TEXT = "text"
    JSON = "json"


def status(
    target: Annotated[
        Named | None,
        typer.Argument(
            metavar="KIND/NAME",
            parser=parse_target,
            help="Show only this resource: td/production, sid/payments, mb/main, tp/orders, "
            "wh/charges, cr/monthly.",
        ),
    ] = None,
    *,
    namespace: Annotated[
        str,
        typer.Option("--namespace", "-n", help="Namespace to show. Defaults to the context's."),
    ] = "",
    everywhere: Annotated[
        bool, typer.Option("--all-namespaces", "-A", help="Show all namespaces.")
    ] = False,
    output: Annotated[Output, typer.Option("--output", "-o", help="Output format.")] = Output.TEXT,
    kubeconfig: Cluster = None,
    context: sources.Context = None,
) -> None:
    """Show the state of trust domains and their roots, brokers, rotations, identities, policies
    and webhooks.
    """
    from troth.cli.inputs.access import home  # noqa: PLC0415

    if not everywhere and not namespace:
        namespace = home(kubeconfig, context)
    report = asyncio.run(_read(target, "" if everywhere else namespace, kubeconfig, context))
    if output is Output.JSON:
        typer.echo(json.dumps(report.manifest(), indent=2))
        return
    for kind in report.hidden:
        typer.echo(f"{kind}: incomplete, because you are not allowed to list all of them", err=True)
    console = Console(highlight=False)
    console.width = min(console.width, WIDTH) if console.is_terminal else WIDTH
    show(console, report, datetime.now(UTC), single=target is not None)


async def _read(
    target: Named | None, namespace: str, kubeconfig: Path | None, context: str | None
) -> Report:
    from troth.cli.inputs.access import connected  # noqa: PLC0415
    from troth.cli.status.collect import survey  # noqa: PLC0415

    async with connected(kubeconfig, context) as server:
        return await survey(server, target, namespace)
