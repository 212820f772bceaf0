"""`troth review`: the worker that carries out reviews of dead letters."""

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
    namespace_names,
)
from troth.cli.exit_codes import ExitCode
from troth.cli.extras import needs_extra
from troth.cli.inputs.namespaces import OWN_NAMESPACE
from troth.cli.inputs.targets import parse_ref
from troth.cluster.connection.imports import without


def review(  # noqa: PLR0917 - typer's options
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    namespace: Annotated[
        str,
        typer.Option(envvar="POD_NAMESPACE", help="Namespace of the Lease and of the audit log."),
    ] = OWN_NAMESPACE,
    namespaces: Annotated[
        str, typer.Option(help="Namespaces to watch, separated by commas; all if empty.")
    ] = "",
    identity: Annotated[
        Path, typer.Option(help="Folder with the Secret <identity>-identity.")
    ] = Path("/var/run/troth/identity"),
    bundle: Annotated[
        Path, typer.Option(help="Folder with the ConfigMap of the trust bundle.")
    ] = Path("/var/run/troth/bundle"),
    schemas: Annotated[
        Path, typer.Option(help="Folder with the ConfigMap <identity>-schemas, if there is one.")
    ] = Path("/var/run/troth/schemas"),
    credentials: Annotated[
        Path,
        typer.Option(
            help="Folder with a folder <namespace>.<name> for each MessageBroker, which has the "
            "Secret <identity>-<broker>."
        ),
    ] = Path("/var/run/troth/credentials"),
    index: Annotated[
        Path, typer.Option(help="Folder for the index of dead letters, which may be lost.")
    ] = Path("/var/lib/troth/index"),
    admission_policy: Annotated[
        str,
        typer.Option(
            help="Name of the ValidatingAdmissionPolicy of reviews and of its binding. Without "
            "them, no review is carried out."
        ),
    ] = "troth-dead-letter-reviews",
    audit_topic: Annotated[
        str | None,
        typer.Option(
            help="TopicPolicy under which the audit log is also published, as namespace/name."
        ),
    ] = None,
    listen: Annotated[
        str, typer.Option(help="Address for the list API, as host:port.")
    ] = "127.0.0.1:8443",
    health_listen: HealthListen = "127.0.0.1:8080",
    log_format: LogFormatName = "console",
    log_level: LogLevel = "info",
) -> None:
    """Carry out reviews of dead letters until it is stopped."""
    with needs_extra("review"), without("rich"):
        from troth.cli.review.process import Options, UnusableError, run  # noqa: PLC0415
        from troth.serving.logs import LogFormat, configure  # noqa: PLC0415

    configure(LogFormat(log_format), log_level)
    told = f"{audit_topic!r} is not namespace/name; write for example shop/orders"
    topic = parse_ref(audit_topic, "--audit-topic", told) if audit_topic else None
    options = Options(
        kubeconfig=kubeconfig,
        context=context,
        namespace=namespace,
        namespaces=namespace_names(namespaces),
        identity=identity,
        bundle=bundle,
        schemas=schemas,
        credentials=credentials,
        index=index,
        admission_policy=admission_policy,
        audit_topic=topic,
        listen=listen_address(listen),
        health_listen=listen_address(health_listen),
    )
    try:
        asyncio.run(run(options))
    except UnusableError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(ExitCode.UNUSABLE_INPUT) from None
