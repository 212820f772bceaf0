"""Lists of the servers of a cluster and of their connections (docs.nats.io, "System Events")."""

import json
from collections.abc import Mapping
from typing import Any

from troth.brokers.nats.connection import Link, document_of

_CONNECTIONS = 1024  # requested at first, about 2 kB each


async def servers_of(link: Link) -> list[str]:
    """Return the IDs of all servers; raises `BrokerError`."""
    answers = await link.ask_all("$SYS.REQ.SERVER.PING", _active_servers, "listing the servers")
    return sorted({document_of(answer, "a server")["server"]["id"] for answer in answers})


async def connections_of(link: Link, account: str) -> list[Mapping[str, Any]]:
    """Return the servers' entries for all connections of an account; raises `BrokerError`."""
    servers = await servers_of(link)
    return [entry for server in servers for entry in await _of_server(link, server, account)]


async def _of_server(link: Link, server: str, account: str) -> list[Mapping[str, Any]]:
    what, limit = "listing the connections", _CONNECTIONS
    while True:
        options = {"auth": True, "acc": account, "limit": limit}
        subject = f"$SYS.REQ.SERVER.{server}.CONNZ"
        data = await link.ask_json(subject, json.dumps(options).encode(), what)
        found, total = data.get("connections") or [], int(data.get("total", 0))
        # No paging: a connection that closes meanwhile would shift another past the page.
        if total <= limit:
            return [{**entry, "server": server} for entry in found]
        limit = 2 * total


def _active_servers(answer: bytes) -> int:
    return int(document_of(answer, "a server").get("statsz", {}).get("active_servers", 1))
