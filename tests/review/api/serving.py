"""A list API on loopback with the SVID of a mounted identity."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cluster.person import until
from tests.edge.mounts import DOMAIN, ROOT, SVID, Mounts, svid
from troth.edge.identity.files import Identity
from troth.edge.outbound.servers import Expected, client_context
from troth.review.api.serving import Server

REVIEWER = f"spiffe://{DOMAIN}/ns/troth-system/sa/troth-review"


@dataclass
class Running:
    """Server of a list API, and the files of its identity."""

    server: Server
    files: Mounts

    @property
    def port(self) -> int:
        port: int = self.server.servers[0].sockets[0].getsockname()[1]
        return port

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"


def worker_files(directory: Path, own: SVID | None = None, spiffe_id: str = REVIEWER) -> Mounts:
    """Write the files of the worker's identity."""
    files = Mounts(directory)
    files.write(own or svid(spiffe_id), spiffeID=spiffe_id, accepts=[])
    return files


def worker_identity(files: Mounts) -> Identity:
    return Identity(files.identity.path, files.bundle.path)


@asynccontextmanager
async def running(
    application: Any, directory: Path, spiffe_id: str = REVIEWER, **options: Any
) -> AsyncIterator[Running]:
    """Serve an application until the context ends."""
    files = worker_files(directory, spiffe_id=spiffe_id)
    server = Server(application, worker_identity(files), "127.0.0.1", 0, **options)
    async with serving(server):
        yield Running(server, files)


@asynccontextmanager
async def serving(server: Server) -> AsyncIterator[None]:
    """Run a server until the context ends."""
    task = asyncio.create_task(server.serve())

    async def started() -> bool:
        return server.started

    try:
        await until(started, bool)
        yield
    finally:
        server.stop()
        await task


def client_tls(spiffe_id: str = REVIEWER) -> ssl.SSLContext:
    """Return TLS of a client that expects a workload of the trust domain."""
    roots = b"".join(ROOT.authority.anchors)
    context = client_context(roots, Expected.exactly(spiffe_id), None)
    context.check_hostname = False
    return context
