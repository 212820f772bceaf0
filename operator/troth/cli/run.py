"""`troth run`: the operator."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from troth.cli.addresses import listen_address
from troth.cli.extras import operator_extra
from troth.resources.scalars import parse_duration


def run(  # noqa: PLR0917 - typer's options
    kubeconfig: Annotated[
        Path | None,
        typer.Option(help="How to reach the API server; inside a pod it is found by itself."),
    ] = None,
    context: Annotated[str | None, typer.Option(help="The kubeconfig's context.")] = None,
    namespace: Annotated[
        str,
        typer.Option(envvar="POD_NAMESPACE", help="The namespace Troth runs in and keeps CAs in."),
    ] = "troth-system",
    listen: Annotated[
        str, typer.Option(help="Where /healthz, /readyz and /metrics are served.")
    ] = "127.0.0.1:8080",
    log_format: Annotated[
        str, typer.Option(help="console or json.", show_default=True)
    ] = "console",
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "info",
    lease_duration: Annotated[
        str, typer.Option(help="After how long a standby takes over from a leader that is gone.")
    ] = "10s",
    workers: Annotated[int, typer.Option(min=1, max=64, help="Resources worked on at once.")] = 8,
    rollouts: Annotated[  # noqa: FBT002 - typer's option
        bool,
        typer.Option("--rollouts", help="Restart the workloads that identities name."),
    ] = False,
) -> None:
    """Run the operator until it is told to stop."""
    with operator_extra():
        from troth.cli.logs import LogFormat, configure  # noqa: PLC0415
        from troth.cli.shell import Options, Shell  # noqa: PLC0415

    host, port = listen_address(listen)
    configure(LogFormat(log_format), log_level)
    options = Options(
        kubeconfig=kubeconfig,
        context=context,
        namespace=namespace,
        host=host,
        port=port,
        lease_seconds=parse_duration(lease_duration).total_seconds(),
        workers=workers,
        rollouts=rollouts,
    )

    async def serve() -> bool:
        shell = Shell(options)
        await shell.run()
        return shell.failed

    raise typer.Exit(1 if asyncio.run(serve()) else 0)
