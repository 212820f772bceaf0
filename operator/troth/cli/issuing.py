"""The issuer as one thing to run: the Secret it follows, the endpoint, health, and signals."""

import asyncio
import gc
import logging
import signal
from dataclasses import dataclass
from pathlib import Path

import structlog

from troth.cli.access import reach
from troth.cli.api_requests import counting
from troth.cli.health import health_server
from troth.cluster.api import ApiServer
from troth.issuer.decisions import Decisions
from troth.issuer.endpoint import app
from troth.issuer.following import Following
from troth.issuer.reviewing import Reviewer
from troth.issuer.serving import Server
from troth.issuer.tls import TLSFiles

YOUNG = 50_000
"""Objects made before Python looks for cycles among them; requests leave next to none."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Options:
    """What `troth issue` was told."""

    domain: str
    kubeconfig: Path | None
    context: str | None
    namespace: str
    tls: Path
    listen: tuple[str, int]
    health_listen: tuple[str, int]


async def run(options: Options) -> None:
    """Issue until a signal; raises what a part of it ended with.

    The endpoint is there at once, and says that it does not know until it does; only readiness
    waits. Raises `TLSFilesError` where there is nothing to serve TLS with, and `FaultyManifests`
    where it is not said how to reach the API server.
    """
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    gc.set_threshold(YOUNG)
    gc.freeze()
    decisions = Decisions()
    following = Following(options.namespace, options.domain)
    decisions.read_view_age(lambda: following.age)
    config = await reach(options.kubeconfig, options.context)
    async with ApiServer(config, counting(decisions.registry)) as api:
        issuer = app(following.current, Reviewer(api), decisions)
        server = Server(issuer, TLSFiles(options.tls), *options.listen)
        _on_signal(server)
        async with health_server(
            *options.health_listen,
            ready=lambda: server.started and following.ready,
            alive=lambda: True,  # where a part has ended the process has
            registry=decisions.registry,
        ):
            log.info("started", domain=options.domain, namespace=options.namespace)
            await _until_stopped(server, following, api)


async def _until_stopped(server: Server, following: Following, api: ApiServer) -> None:
    """Serve, and follow the Secret and the files meanwhile."""
    async with asyncio.TaskGroup() as tasks:
        beside = [
            tasks.create_task(following.informer(api).run(), name="following"),
            tasks.create_task(following.check(api), name="checking"),
            tasks.create_task(server.follow_files(), name="TLS files"),
        ]
        await server.serve()
        for task in beside:
            task.cancel()


def _on_signal(server: Server) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, server.stop)
