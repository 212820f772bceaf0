"""`troth gateway`: the gateway that verifies webhooks."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from troth.cli.daemon_options import (
    Context,
    HealthListen,
    Kubeconfig,
    LogFormatName,
    LogLevel,
    Workers,
    listen_address,
)
from troth.cli.exit_codes import ExitCode
from troth.cli.extras import needs_extra
from troth.cluster.connection.imports import without


def gateway(  # noqa: PLR0917 - typer's options
    identity_name: Annotated[
        str, typer.Option(help="Name of the gateway's own ServiceIdentity.")
    ] = "troth-gateway",
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    namespace: Annotated[
        str, typer.Option(envvar="POD_NAMESPACE", help="Namespace of that ServiceIdentity.")
    ] = "troth-gateway",
    identity: Annotated[
        Path, typer.Option(help="Folder with the Secret <identity name>-identity.")
    ] = Path("/var/run/troth/identity"),
    bundle: Annotated[
        Path, typer.Option(help="Folder with the ConfigMap of the trust bundle.")
    ] = Path("/var/run/troth/bundle"),
    listen: Annotated[
        str, typer.Option(help="Address for webhooks, as host:port.")
    ] = "127.0.0.1:8443",
    tls: Annotated[
        Path | None,
        typer.Option(
            help="Folder with tls.crt and tls.key; without it, a proxy must terminate TLS."
        ),
    ] = None,
    valkey: Annotated[
        Path | None, typer.Option(help="File with the URL of the replay store.")
    ] = None,
    single_replica: Annotated[  # noqa: FBT002 - typer's option
        bool,
        typer.Option(
            "--single-replica",
            help="Remember deliveries in memory, for one replica only; lost when it restarts.",
        ),
    ] = False,
    trusted_proxies: Annotated[
        list[str] | None,
        typer.Option(help="CIDR of proxies whose X-Forwarded-For is trusted; repeatable."),
    ] = None,
    resolve: Annotated[
        list[str] | None,
        typer.Option(help="Address of a target, as host:port=address:port; repeatable."),
    ] = None,
    health_listen: HealthListen = "127.0.0.1:8080",
    workers: Workers = 1,
    log_format: LogFormatName = "console",
    log_level: LogLevel = "info",
) -> None:
    """Run the webhook gateway until it is stopped."""
    with needs_extra("gateway"), without("rich"):
        from troth.cli.gateway.process import Options, UnusableError, check, run  # noqa: PLC0415
        from troth.cli.tracing import tracing  # noqa: PLC0415
        from troth.serving.logs import LogFormat, configure  # noqa: PLC0415
        from troth.serving.workers.start import start_workers  # noqa: PLC0415

    if (valkey is None) is not single_replica:
        raise typer.BadParameter(
            "write either --valkey FILE, or --single-replica for a gateway with one replica"
        )
    if single_replica and workers > 1:
        raise typer.BadParameter(
            f"--workers is {workers}, but processes do not share the memory of --single-replica, "
            "so a replayed delivery could be accepted; write --valkey FILE, or --workers 1"
        )
    configure(LogFormat(log_format), log_level, direct=True)
    options = Options(
        identity_name=identity_name,
        kubeconfig=kubeconfig,
        context=context,
        namespace=namespace,
        identity=identity,
        bundle=bundle,
        listen=listen_address(listen),
        tls=tls,
        valkey=valkey,
        trusted_proxies=tuple(trusted_proxies or ()),
        resolve=dict(map(_resolved, resolve or ())),
        health_listen=listen_address(health_listen),
        workers=workers,
    )
    try:
        link = None
        if workers > 1:
            check(options)
            link = start_workers(workers, options.health_listen)
        with tracing("troth-gateway") as tracer:
            asyncio.run(run(options, tracer, link))
    except UnusableError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(ExitCode.UNUSABLE_INPUT) from None


def _resolved(text: str) -> tuple[tuple[str, int], tuple[str, int]]:
    """Parse `host:port=address:port`."""
    host, _, address = text.partition("=")
    if not host or not address:
        raise typer.BadParameter(f"{text!r} is not host:port=address:port")
    return listen_address(host), listen_address(address)
