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
    Workers,
    listen_address,
)
from troth.cli.exit_codes import ExitCode
from troth.cli.extras import needs_extra
from troth.cli.inputs.namespaces import OWN_NAMESPACE
from troth.cluster.connection.imports import without


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
    workers: Workers = 1,
    log_format: LogFormatName = "console",
    log_level: LogLevel = "info",
) -> None:
    """Run the token issuer until it is stopped."""
    with needs_extra("issuer"), without("rich"):
        from troth.cli.issue.process import Options, run  # noqa: PLC0415
        from troth.cli.tracing import tracing  # noqa: PLC0415
        from troth.issuer.tls import IssuerTLS  # noqa: PLC0415
        from troth.serving.logs import LogFormat, configure  # noqa: PLC0415
        from troth.serving.tls_files import TLSFilesError  # noqa: PLC0415
        from troth.serving.workers.start import start_workers  # noqa: PLC0415

    configure(LogFormat(log_format), log_level, direct=True)
    options = Options(
        domain=domain,
        kubeconfig=kubeconfig,
        context=context,
        namespace=namespace,
        tls=tls,
        listen=listen_address(listen),
        health_listen=listen_address(health_listen),
        workers=workers,
    )
    try:
        link = None
        if workers > 1:
            IssuerTLS(tls)  # else each worker would report that its files are unusable
            link = start_workers(workers, options.health_listen)
        with tracing("troth-issuer") as tracer:
            asyncio.run(run(options, tracer, link))
    except TLSFilesError as error:
        typer.echo(f"{tls}: {error}", err=True)
        raise typer.Exit(ExitCode.UNUSABLE_INPUT) from None
