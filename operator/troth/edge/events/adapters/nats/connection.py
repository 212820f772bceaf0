"""Connections from the files that Troth writes."""

import ssl
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from nats.js.api import Header

from troth.clients.nats import NatsClient
from troth.documents.client_name import client_name

_VERSION: Final = b"NATS/1.0"


class EventClient(NatsClient):
    """A client that keeps each header as it was sent.

    The library keeps the last of repeated headers, replaces bytes that are not UTF-8, and ends the
    connection if a status is not UTF-8.
    """

    async def _process_headers(self, headers: bytes) -> dict[str, Any] | None:
        """Return the values of each header: a text, or a list if there are several."""
        if not headers:
            return None
        line, _, rest = bytes(headers).partition(b"\r\n")
        found: dict[str, list[str]] = {}
        for each in rest.split(b"\r\n"):
            name, colon, value = each.partition(b":")
            if colon:
                found.setdefault(_text(name), []).append(_text(value.strip()))
        kept: dict[str, Any] = {
            name: values[0] if len(values) == 1 else values for name, values in found.items()
        }
        status, _, description = line.removeprefix(_VERSION).strip().partition(b" ")
        if status.isdigit():
            kept[Header.STATUS.value] = _text(status)
            if description:
                kept[Header.DESCRIPTION.value] = _text(description)
        return kept or None


def _text(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")


async def connect(
    directory: str | Path,
    policies: Iterable[str],
    **options: Any,  # noqa: ANN401 - those of the library
) -> EventClient:
    """Return a client that is connected as a mounted Secret `<identity>-<broker>` says.

    The connection's name names library and `policies` for Troth, which reports unguarded clients.
    Other `options` are those of `nats.connect`. The library reads `user.creds` at each connection,
    so a rotation of the credential needs nothing. Raises the library's errors, and `OSError` if a
    file is missing.
    """
    files = Path(directory)
    roots = files / "ca.crt"
    client = EventClient()
    given: dict[str, Any] = {
        "user_credentials": str(files / "user.creds"),
        "inbox_prefix": (files / "inbox.prefix").read_text(),
        "tls": ssl.create_default_context(cafile=roots if roots.exists() else None),
    } | options
    servers = (files / "servers").read_text().split(",")
    await client.connect(servers, name=client_name(policies), **given)
    return client
