"""Workers with a small application.

    python -m tests.serving.workers.program COUNT PORT HEALTH DIR

A worker is ready once DIR has a file `ready-NUMBER`. It answers with its number. A request to
`/held` writes a file `held-…` into DIR and waits until there is a file `open`. A request to
`/stuck` blocks the event loop until then.
"""

import asyncio
import os
import sys
import time
from pathlib import Path
from uuid import uuid4

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from troth.edge.inbound.asgi import Receive, Scope, Send
from troth.edge.inbound.connections.limits import ConnectionLimits
from troth.serving.http_server import HTTPServer
from troth.serving.logs import LogFormat, configure
from troth.serving.process import prepare, serve
from troth.serving.workers.link import Link
from troth.serving.workers.start import start_workers


def main(count: int, port: int, health: tuple[str, int], directory: Path) -> None:
    configure(LogFormat.JSON, "info", direct=True)
    link = start_workers(count, health)
    asyncio.run(run(link, count, port, directory))


async def run(link: Link, count: int, port: int, directory: Path) -> None:
    prepare()
    registry = CollectorRegistry()
    requests = Counter("requests", "Requests.", ("worker", "path"), registry=registry)
    paths = Counter("paths", "Requests by path.", ("path",), registry=registry)
    seconds = Histogram("seconds", "Numbers of workers.", buckets=(1, 2, 3), registry=registry)
    Gauge("highest", "Number of a worker.", registry=registry).set(link.worker)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive()).get("more_body"):
            pass
        path = scope["path"]
        requests.labels(str(link.worker), path).inc()
        paths.labels(path).inc()
        seconds.observe(link.worker)
        if path == "/held":
            (directory / f"held-{uuid4().hex}").touch()
            while not (directory / "open").exists():  # noqa: ASYNC110 - another process makes it
                await asyncio.sleep(0.01)
        elif path == "/stuck":
            (directory / f"held-{uuid4().hex}").touch()
            block(directory)
        elif path == "/fail":
            os._exit(7)
        body = str(link.worker).encode()
        headers = [(b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    begun = directory / f"begun-{link.worker}"
    begun.write_text(str(os.getpid()))
    begun.rename(directory / f"pid-{link.worker}")  # whole, if this process is killed meanwhile
    server = HTTPServer(
        app,
        "127.0.0.1",
        port,
        tls=None,
        limits=ConnectionLimits(connections=1024),
        shutdown=40,
        workers=count,
    )
    await serve(
        server,
        {},
        ready=(directory / f"ready-{link.worker}").exists,
        health_listen=("", 0),
        registry=registry,
        on_start=lambda: None,
        link=link,
    )


def block(directory: Path) -> None:
    while not (directory / "open").exists():
        time.sleep(0.01)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), ("127.0.0.1", int(sys.argv[3])), Path(sys.argv[4]))
