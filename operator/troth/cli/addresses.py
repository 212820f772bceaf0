"""Addresses as they are written on a command line."""

import typer


def listen_address(text: str) -> tuple[str, int]:
    """Return the host and the port of `host:port`; without a host, all of this machine's."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdigit():
        raise typer.BadParameter("write host:port, such as 127.0.0.1:8080")
    return host.strip("[]") or "0.0.0.0", int(port)  # noqa: S104 - only when asked for as ":8080"
