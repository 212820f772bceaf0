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
    listen_address,
)
from troth.cli.extras import gateway_extra


def gateway(  # noqa: PLR0917 - typer's options
    identity_name: Annotated[
        str, typer.Option(help="The name of the gateway's own ServiceIdentity.")
    ] = "troth-gateway",
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    namespace: Annotated[
        str, typer.Option(envvar="POD_NAMESPACE", help="The namespace of that ServiceIdentity.")
    ] = "troth-gateway",
    identity: Annotated[
        Path, typer.Option(help="Where the Secret <identity name>-identity is mounted.")
    ] = Path("/var/run/troth/identity"),
    bundle: Annotated[
        Path, typer.Option(help="Where the ConfigMap with the trust bundle is mounted.")
    ] = Path("/var/run/troth/bundle"),
    listen: Annotated[str, typer.Option(help="Where webhooks come to.")] = "127.0.0.1:8443",
    tls: Annotated[
        Path | None,
        typer.Option(
            help="Where tls.crt and tls.key for senders are mounted; without it TLS ends before."
        ),
    ] = None,
    valkey: Annotated[
        Path | None, typer.Option(help="A file with the URL of the replay store.")
    ] = None,
    single_replica: Annotated[  # noqa: FBT002 - typer's option
        bool,
        typer.Option(
            "--single-replica",
            help="Remember deliveries in memory: there is one replica, and a restart forgets.",
        ),
    ] = False,
    trusted_proxies: Annotated[
        list[str] | None,
        typer.Option(help="A CIDR of proxies whose X-Forwarded-For is believed; repeatable."),
    ] = None,
    resolve: Annotated[
        list[str] | None,
        typer.Option(help="host:port=address:port, where a target is to be found; repeatable."),
    ] = None,
    health_listen: HealthListen = "127.0.0.1:8080",
    log_format: LogFormatName = "console",
    log_level: LogLevel = "info",
) -> None:
    """Verify webhooks and hand them on until told to stop."""
    with gateway_extra():
        from troth.cli.gateway.process import Options, UnusableError, run  # noqa: PLC0415
        from troth.serving.logs import LogFormat, configure  # noqa: PLC0415

    if (valkey is None) is not single_replica:
        raise typer.BadParameter(
            "write --valkey FILE, or for a gateway of one replica --single-replica"
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
    )
    try:
        asyncio.run(run(options))
    except UnusableError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None


def _resolved(text: str) -> tuple[tuple[str, int], tuple[str, int]]:
    """Return what stands on both sides of `host:port=address:port`."""
    host, _, address = text.partition("=")
    if not host or not address:
        raise typer.BadParameter("write host:port=address:port")
    return listen_address(host), listen_address(address)
