"""What `troth run` and `troth issue` are told alike, as they are pods of one installation."""

from pathlib import Path
from typing import Annotated

import typer

Kubeconfig = Annotated[
    Path | None,
    typer.Option(help="How to reach the API server; inside a pod it is found by itself."),
]
Context = Annotated[str | None, typer.Option(help="The kubeconfig's context.")]
LogFormatName = Annotated[str, typer.Option(help="console or json.", show_default=True)]
LogLevel = Annotated[str, typer.Option(help="debug, info, warning or error.")]
HealthListen = Annotated[str, typer.Option(help="Where /healthz, /readyz and /metrics are served.")]


def listen_address(text: str) -> tuple[str, int]:
    """Return the host and the port of `host:port`; without a host, all of this machine's."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdigit():
        raise typer.BadParameter("write host:port, such as 127.0.0.1:8080")
    return host.strip("[]") or "0.0.0.0", int(port)  # noqa: S104 - only when asked for as ":8080"
