"""Other routes to etcd and the API server than the stage's own."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import yaml

from sandbox.components import ETCD_SOCKET, LOOPBACK
from sandbox.faults import Relay
from sandbox.kubeconfig import write_kubeconfig
from tests.cluster.stage import Stage


@asynccontextmanager
async def another_server(
    stage: Stage, name: str, *flags: str, etcd_socket: str = ETCD_SOCKET
) -> AsyncIterator[int]:
    """Run one more API server on the stage's etcd; yield its port."""
    server = stage.sandbox.control_plane.another_api_server(
        f"{name}-{stage.name}", *flags, etcd_socket=etcd_socket
    )
    port = await asyncio.to_thread(server.__enter__)
    try:
        yield port
    finally:
        await asyncio.to_thread(server.__exit__, None, None, None)


def url_of(port: int) -> str:
    """Return the URL of an API server on a port of the loopback interface."""
    return f"https://{LOOPBACK}:{port}"


def kubeconfig_through(stage: Stage, relay: Relay) -> Path:
    """Write the operator's kubeconfig for a relay to the API server."""
    assert isinstance(relay.here, int)
    config = yaml.safe_load(stage.kubeconfig.read_text())
    return write_kubeconfig(
        stage.kubeconfig.with_suffix(".relayed"),
        cluster={**config["clusters"][0]["cluster"], "server": url_of(relay.here)},
        user=config["users"][0]["user"],
        namespace=stage.own,
    )
