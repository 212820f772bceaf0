"""The names of Services for processes on loopback.

In a cluster, DNS and the network bring a caller of `payments.shop.svc:8443` to a pod. Without
either, a process that calls Services gets a table of their ports on loopback.
"""

import socket
from collections.abc import Mapping
from typing import Any

LOOPBACK = "127.0.0.1"


def resolve(ports: Mapping[str, int]) -> None:
    """Have this process resolve each `host:port` to its port on loopback; others stay the same."""
    original = socket.getaddrinfo

    def getaddrinfo(host: Any, port: Any, *rest: Any, **more: Any) -> Any:  # noqa: ANN401
        if local := ports.get(f"{host}:{port}"):
            host, port = LOOPBACK, local
        return original(host, port, *rest, **more)

    socket.getaddrinfo = getaddrinfo
