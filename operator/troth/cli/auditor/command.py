"""`troth auditor`: the auditor."""

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
)
from troth.cli.extras import needs_extra
from troth.cli.inputs.namespaces import AGENT_NAMESPACE, OWN_NAMESPACE, AgentNamespace
from troth.cluster.connection.imports import without


def auditor(  # noqa: PLR0917 - typer's options
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    namespace: Annotated[
        str, typer.Option(envvar="POD_NAMESPACE", help="Namespace that Troth runs in.")
    ] = OWN_NAMESPACE,
    secret_metadata: Annotated[  # noqa: FBT002 - typer's option
        bool,
        typer.Option(
            "--secret-metadata", help="List the metadata of Secrets, but never their content."
        ),
    ] = False,
    agents: Annotated[  # noqa: FBT002 - typer's option
        bool,
        typer.Option("--agents", help="Read who connects to whom from the logs of node agents."),
    ] = False,
    agent_namespace: AgentNamespace = AGENT_NAMESPACE,
    listen: HealthListen = "127.0.0.1:8080",
    log_format: LogFormatName = "console",
    log_level: LogLevel = "info",
) -> None:
    """Evaluate the rules of `troth audit` until stopped, and write reports and statuses."""
    with needs_extra("operator"), without("rich"):
        from troth.cli.auditor.process import Options, run  # noqa: PLC0415
        from troth.serving.logs import LogFormat, configure  # noqa: PLC0415

    host, port = listen_address(listen)
    configure(LogFormat(log_format), log_level)
    asyncio.run(
        run(
            Options(
                kubeconfig=kubeconfig,
                context=context,
                namespace=namespace,
                secret_metadata=secret_metadata,
                agents_in=agent_namespace if agents else "",
                listen=(host, port),
            )
        )
    )
