"""What `troth run`, `issue` and `gateway` are told alike, as they are pods of one installation."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer


def _one_of(*names: str) -> Callable[[str], str]:
    """Return what reads one of some names, in either case."""

    def read(text: str) -> str:
        if text.lower() not in names:
            raise typer.BadParameter(f"{text!r} is none of {', '.join(names)}")
        return text.lower()

    return read


Kubeconfig = Annotated[
    Path | None,
    typer.Option(help="How to reach the API server; inside a pod it is found by itself."),
]
Context = Annotated[str | None, typer.Option(help="The kubeconfig's context.")]
LogFormatName = Annotated[
    str, typer.Option(parser=_one_of("console", "json"), help="console or json.")
]
LogLevel = Annotated[
    str,
    typer.Option(
        parser=_one_of("debug", "info", "warning", "error"), help="debug, info, warning or error."
    ),
]
HealthListen = Annotated[str, typer.Option(help="Where /healthz, /readyz and /metrics are served.")]


def listen_address(text: str) -> tuple[str, int]:
    """Return the host and the port of `host:port`; without a host, all of this machine's."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdigit():
        raise typer.BadParameter("write host:port, such as 127.0.0.1:8080")
    return host.strip("[]") or "0.0.0.0", int(port)  # noqa: S104 - only when asked for as ":8080"
