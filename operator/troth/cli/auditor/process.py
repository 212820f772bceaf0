"""Runs the auditor process: its auditor, health, signals."""

import asyncio
import signal
import socket
import uuid
from dataclasses import dataclass
from pathlib import Path

import structlog
from prometheus_client import CollectorRegistry

from troth.auditor.agents import AgentLogs
from troth.auditor.auditor import FIELD_MANAGER, PAGE, Auditor, Settings
from troth.cli.inputs.access import reach
from troth.cluster.api import ApiServer
from troth.cluster.server_clock import ServerClock, log_change
from troth.serving.api_requests import counting
from troth.serving.health import health_server
from troth.serving.process import prepare

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Options:
    """The options of `troth auditor`."""

    kubeconfig: Path | None
    context: str | None
    namespace: str
    secret_metadata: bool
    agents_in: str
    """Namespace of the node agents whose logs are read, empty for none."""
    listen: tuple[str, int]


async def run(options: Options) -> None:
    """Audit until a signal; raises the error of a part that ends.

    Readiness waits for the first evaluation. Raises `FaultyManifests` without a usable kubeconfig.
    """
    prepare()
    config = await reach(options.kubeconfig, options.context)
    registry = CollectorRegistry()
    server = ApiServer(
        config,
        counting(registry),
        ServerClock(log_change),
        field_manager=FIELD_MANAGER,
        page=PAGE,
    )
    async with server:
        auditor = Auditor(
            server,
            Settings(
                own_namespace=options.namespace,
                instance=f"{socket.gethostname()}_{uuid.uuid4().hex[:8]}",
                secret_metadata=options.secret_metadata,
            ),
            registry=registry,
            traffic=AgentLogs(server, lambda: auditor.cache.scene, options.agents_in)
            if options.agents_in
            else None,
        )
        running = asyncio.create_task(auditor.run(), name="auditor")
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, running.cancel)
        async with health_server(
            *options.listen,
            ready=lambda: auditor.ready,
            alive=lambda: not running.done(),
            registry=registry,
        ):
            log.info("started", namespace=options.namespace, listen=options.listen)
            await asyncio.wait({running})
            if not running.cancelled():
                running.result()
