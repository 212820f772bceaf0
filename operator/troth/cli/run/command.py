"""`troth run`: the operator."""

import asyncio
from typing import Annotated

import typer

from troth.cli.daemon_options import (
    Context,
    HealthListen,
    Kubeconfig,
    LogFormatName,
    LogLevel,
    listen_address,
    namespace_names,
)
from troth.cli.exit_codes import ExitCode
from troth.cli.extras import needs_extra
from troth.cli.inputs.namespaces import OWN_NAMESPACE
from troth.cluster.connection.imports import without
from troth.resources.schema.scalars import parse_duration
from troth.serving.tracing import Tracer


def run(  # noqa: PLR0917 - typer's options
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    namespace: Annotated[
        str,
        typer.Option(envvar="POD_NAMESPACE", help="Namespace that Troth runs in and keeps CAs in."),
    ] = OWN_NAMESPACE,
    listen: HealthListen = "127.0.0.1:8080",
    log_format: LogFormatName = "console",
    log_level: LogLevel = "info",
    lease_duration: Annotated[
        str, typer.Option(help="Time after which a standby replaces a leader that has vanished.")
    ] = "10s",
    workers: Annotated[
        int,
        typer.Option(min=1, max=64, help="Maximum number of resources to reconcile in parallel."),
    ] = 8,
    shards: Annotated[
        int,
        typer.Option(
            min=1,
            max=16,
            help="Number of shards of the namespaces, which replicas share; with 1, one leads.",
        ),
    ] = 1,
    namespaces: Annotated[
        str,
        typer.Option(
            envvar="TROTH_NAMESPACES",
            help="Namespaces to watch besides Troth's own, separated by commas; all if empty.",
        ),
    ] = "",
    rollouts: Annotated[  # noqa: FBT002 - typer's option
        bool,
        typer.Option("--rollouts", help="Restart the workloads that ServiceIdentities name."),
    ] = False,
) -> None:
    """Run the operator until it is stopped."""
    with needs_extra("operator"), without("rich"):
        from troth.cli.run.shell import Options, Shell  # noqa: PLC0415
        from troth.cli.tracing import tracing  # noqa: PLC0415
        from troth.serving.logs import LogFormat, configure  # noqa: PLC0415
        from troth.serving.open_files import raise_open_files  # noqa: PLC0415

    host, port = listen_address(listen)
    configure(LogFormat(log_format), log_level, direct=True)
    raise_open_files()
    options = Options(
        kubeconfig=kubeconfig,
        context=context,
        namespace=namespace,
        host=host,
        port=port,
        lease_seconds=parse_duration(lease_duration).total_seconds(),
        workers=workers,
        shards=shards,
        rollouts=rollouts,
        namespaces=namespace_names(namespaces),
    )

    async def serve(tracer: Tracer | None) -> bool:
        shell = Shell(options, tracer)
        await shell.run()
        return shell.failed

    with tracing("troth-operator") as tracer:
        failed = asyncio.run(serve(tracer))
    raise typer.Exit(ExitCode.INTERNAL_ERROR if failed else ExitCode.CLEAN)
