"""Options that the long-running programs share."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from troth.resources.schema.scalars import DNS_LABEL


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

Workers = Annotated[
    int,
    typer.Option(
        min=1, max=16, help="Number of processes that serve the port. Use one for each core."
    ),
]


def listen_address(text: str) -> tuple[str, int]:
    """Return the host and port of `host:port`; an empty host means all IPv4 addresses."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdigit():
        raise typer.BadParameter(f"{text!r} is not host:port; write for example 127.0.0.1:8080")
    return host.strip("[]") or "0.0.0.0", int(port)  # noqa: S104 - only if written as ":8080"


def namespace_names(namespaces: str, option: str = "--namespaces") -> frozenset[str]:
    """Return the namespaces of an option's list that is separated by commas.

    Raises `BadParameter` if one is not the name of a namespace.
    """
    names = [each.strip() for each in namespaces.split(",")] if namespaces.strip() else []
    for each in names:
        if not re.fullmatch(DNS_LABEL, each):
            raise typer.BadParameter(
                f'{option}: "{each}" is not the name of a namespace; write names such as '
                "shop,billing"
            )
    return frozenset(names)
