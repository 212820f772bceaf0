"""`troth status`: the state of a cluster on one screen, or of one resource."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from troth.cli.exit_codes import ExitCode
from troth.cli.inputs import sources
from troth.cli.inputs.targets import Cluster, Named, parse_target
from troth.cli.output import Output, OutputOption, console, structured

if TYPE_CHECKING:
    from troth.cli.status.report import Report


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
        typer.Option(
            "--namespace",
            "-n",
            help="Namespace to show. Defaults to all; for KIND/NAME to the context's.",
        ),
    ] = "",
    everywhere: Annotated[
        bool,
        typer.Option("--all-namespaces", "-A", help="Search all namespaces for KIND/NAME."),
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Show the state again whenever it changes.")
    ] = False,
    interval: Annotated[
        float, typer.Option(min=1, help="Seconds between two reads with --watch.")
    ] = 5,
    output: OutputOption = Output.TEXT,
    kubeconfig: Cluster = None,
    context: sources.Context = None,
) -> None:
    """Show what is live, half-declared, rejected, drifting and expiring next in the cluster.

    With --namespace, show the resources of that namespace in detail, with KIND/NAME one of them.
    Exit code 1 means that something is not ready or rejected.
    """
    from troth.cli.inputs.access import home  # noqa: PLC0415
    from troth.cli.status.render import show  # noqa: PLC0415

    if watch and output is not Output.TEXT:
        raise typer.BadParameter("use it without --output", param_hint="--watch")
    here = "" if everywhere or namespace else home(kubeconfig, context)
    shown = namespace or ("" if target is None else here)
    whole = target is None and not namespace

    def render(report: "Report") -> None:
        for kind in report.hidden:
            typer.echo(
                f"{kind}: incomplete, because you are not allowed to list all of them", err=True
            )
        now = datetime.now(UTC)
        show(console(), report, now, single=target is not None, whole=whole)

    if watch:
        from troth.cli.status.watch import follow  # noqa: PLC0415

        asyncio.run(follow(target, shown, here, kubeconfig, context, interval, render))
    report = asyncio.run(_read(target, shown, here, kubeconfig, context))
    if output is Output.TEXT:
        render(report)
    else:
        typer.echo(structured(report.manifest(), output), nl=False)
    raise typer.Exit(ExitCode.CLEAN if report.all_ready else ExitCode.FINDINGS)


async def _read(
    target: Named | None, namespace: str, here: str, kubeconfig: Path | None, context: str | None
) -> "Report":
    from troth.cli.inputs.access import connected  # noqa: PLC0415
    from troth.cli.status.collect import survey  # noqa: PLC0415

    async with connected(kubeconfig, context) as server:
        return await survey(server, target, namespace, here)
