"""Options that `troth run`, `issue` and `gateway` share."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer


def _one_of(*names: str) -> Callable[[str], str]:
    """Return a parser that accepts one of `names` in either case."""

    def read(text: str) -> str:
        if text.lower() not in names:
            raise typer.BadParameter(f"{text!r} is not one of {', '.join(names)}")
        return text.lower()

    return read


Kubeconfig = Annotated[
    Path | None,
    typer.Option(
        help="Kubeconfig file. Defaults to the ServiceAccount in a pod, else to kubectl's."
    ),
]
Context = Annotated[
    str | None, typer.Option(help="Kubeconfig context. Defaults to the current one.")
]
LogFormatName = Annotated[
    str, typer.Option(parser=_one_of("console", "json"), help="Log format: console or json.")
]
LogLevel = Annotated[
    str,
    typer.Option(
        parser=_one_of("debug", "info", "warning", "error"),
        help="Minimum log level: debug, info, warning or error.",
    ),
]
HealthListen = Annotated[
    str, typer.Option(help="Address for /healthz, /readyz and /metrics, as host:port.")
]


def listen_address(text: str) -> tuple[str, int]:
    """Return the host and port of `host:port`; an empty host means all IPv4 addresses."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdigit():
        raise typer.BadParameter(f"{text!r} is not host:port; write for example 127.0.0.1:8080")
    return host.strip("[]") or "0.0.0.0", int(port)  # noqa: S104 - only if written as ":8080"
