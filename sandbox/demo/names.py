"""The names of Services for processes on loopback.

In a cluster its resolver and its network bring whoever calls `payments.shop.svc:8443` to a pod.
Here there is neither, so a process that calls Services is told which port of loopback is whose.
"""

import socket
from collections.abc import Mapping
from typing import Any

LOOPBACK = "127.0.0.1"


def know(ports: Mapping[str, int]) -> None:
    """Have this process reach `host:port` on a port of loopback; other names mean what they did."""
    as_ever = socket.getaddrinfo

    def getaddrinfo(host: Any, port: Any, *rest: Any, **more: Any) -> Any:  # noqa: ANN401
        if local := ports.get(f"{host}:{port}"):
            host, port = LOOPBACK, local
        return as_ever(host, port, *rest, **more)

    socket.getaddrinfo = getaddrinfo
