"""Real servers on loopback with mutual TLS, and clients with or without a certificate."""

import asyncio
import contextlib
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPException, HTTPSConnection
from pathlib import Path
from typing import Any, Self

import uvicorn

from sandbox.control_plane import free_port
from tests.edge.mounts import ROOT, SVID
from tests.patience import PATIENCE
from troth.edge.frameworks import uvicorn as edge_uvicorn
from troth.edge.identity.files import Identity
from troth.edge.inbound.connections import timed

ROOTS = b"".join(ROOT.authority.anchors)


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


class Client:
    """One connection, kept open from request to request."""

    def __init__(
        self, port: int, files: Path, own: SVID | None = None, *, roots: bytes = ROOTS
    ) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=roots.decode())
        if own is not None:
            files.mkdir(parents=True, exist_ok=True)
            context.load_cert_chain(*own.write(files))
        self.connection = HTTPSConnection("localhost", port, context=context, timeout=PATIENCE)

    def get(self, path: str = "/", *headers: tuple[str, str]) -> Answer:
        self.connection.putrequest("GET", path)
        for name, value in headers:
            self.connection.putheader(name, value)
        self.connection.endheaders()
        answer = self.connection.getresponse()
        return Answer(answer.status, dict(answer.getheaders()), answer.read())

    def close(self) -> None:
        self.connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def once(
    port: int,
    files: Path,
    own: SVID | None = None,
    path: str = "/",
    *headers: tuple[str, str],
    roots: bytes = ROOTS,
) -> Answer:
    """One request over a connection of its own."""
    with Client(port, files, own, roots=roots) as client:
        return client.get(path, *headers)


@contextlib.contextmanager
def uvicorn_serving(app: Any, identity: Identity, **settings: Any) -> Iterator[int]:
    """A uvicorn server in a thread; yields its port."""
    quiet: dict[str, Any] = {"log_level": "error", "lifespan": "off", "timeout_keep_alive": 120}
    config = edge_uvicorn.config(app, identity, host="127.0.0.1", port=0, **quiet | settings)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()), daemon=True)
    thread.start()
    try:
        until(lambda: server.started)
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(timeout=PATIENCE)
        assert not thread.is_alive()


@contextlib.contextmanager
def gunicorn_serving(
    mounts: Path, worker: str, *, within: float = timed.REQUEST_WITHIN
) -> Iterator[int]:
    """A gunicorn server in its own process, with `tests.edge.gunicorn_app`; yields its port."""
    port = free_port()
    here = Path(__file__).parent
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "gunicorn",
            "--config",
            str(here / "gunicorn_app.py"),
            "--bind",
            f"127.0.0.1:{port}",
            "--log-level",
            "error",
            "tests.edge.gunicorn_app:guarded()",
        ],
        env=os.environ
        | {
            "TROTH_MOUNTS": str(mounts),
            "TROTH_WORKER": worker,
            "TROTH_REQUEST_WITHIN": str(within),
        },
        cwd=here.parents[1],
        stderr=subprocess.PIPE,
    )
    try:
        until(lambda: process.poll() is not None or _listens(port))
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        yield port
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=PATIENCE)


def until(done: Any, seconds: float = PATIENCE) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def refused_by_tls(client: Client) -> bool:
    """Whether the server ends the handshake; a client of TLS 1.3 learns that when it reads."""
    try:
        client.get()
    except (ssl.SSLError, ConnectionError, HTTPException):
        return True
    finally:
        client.close()
    return False


def _listens(port: int) -> bool:
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0
