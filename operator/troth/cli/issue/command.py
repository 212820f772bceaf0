"""`troth issue`: the token issuer of one trust domain."""

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
from troth.cli.exit_codes import ExitCode
from troth.cli.extras import needs_extra
from troth.cli.inputs.sources import OWN_NAMESPACE


def issue(  # noqa: PLR0917 - typer's options
    domain: Annotated[str, typer.Option(help="Name of the TrustDomain to issue tokens for.")],
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    namespace: Annotated[
        str,
        typer.Option(envvar="POD_NAMESPACE", help="Namespace that Troth runs in."),
    ] = OWN_NAMESPACE,
    tls: Annotated[
        Path,
        typer.Option(help="Folder with tls.crt, tls.key and ca.crt of the issuer."),
    ] = Path("/var/run/troth/issuer"),
    listen: Annotated[
        str, typer.Option(help="Address for token requests, as host:port.")
    ] = "127.0.0.1:8443",
    health_listen: HealthListen = "127.0.0.1:8080",
    log_format: LogFormatName = "console",
    log_level: LogLevel = "info",
) -> None:
    """Run the token issuer until it is stopped."""
    with needs_extra("issuer"):
        from troth.cli.issue.process import Options, run  # noqa: PLC0415
        from troth.cli.tracing import tracing  # noqa: PLC0415
        from troth.serving.logs import LogFormat, configure  # noqa: PLC0415
        from troth.serving.tls_files import TLSFilesError  # noqa: PLC0415

    configure(LogFormat(log_format), log_level, direct=True)
    options = Options(
        domain=domain,
        kubeconfig=kubeconfig,
        context=context,
        namespace=namespace,
        tls=tls,
        listen=listen_address(listen),
        health_listen=listen_address(health_listen),
    )
    try:
        with tracing("troth-issuer") as tracer:
            asyncio.run(run(options, tracer))
    except TLSFilesError as error:
        typer.echo(f"{tls}: {error}", err=True)
        raise typer.Exit(ExitCode.UNUSABLE_INPUT) from None
