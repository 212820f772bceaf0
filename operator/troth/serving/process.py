"""The process setup of issuer and gateway: a server with background tasks, health and signals."""

import asyncio
import gc
import logging
import signal
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from prometheus_client import CollectorRegistry

from troth.serving.health import health_server
from troth.serving.http_server import HTTPServer

YOUNG = 50_000
"""Allocations between collections of the youngest generation; requests create few cycles."""


def prepare() -> None:
    """Reduce garbage collection pauses, and silence uvicorn's log messages."""
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    gc.set_threshold(YOUNG)
    gc.freeze()


async def serve(
    server: HTTPServer,
    tasks: Mapping[str, Coroutine[Any, Any, None]],
    *,
    ready: Callable[[], bool],
    health_listen: tuple[str, int],
    registry: CollectorRegistry,
    on_start: Callable[[], None],
) -> None:
    """Serve until SIGTERM or SIGINT, with named background tasks and the health endpoints.

    The server listens at once; readiness also waits for `ready`. If any part fails, its error is
    raised and the process ends, so a process that answers is alive.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, server.stop)
    async with health_server(
        *health_listen,
        ready=lambda: server.started and ready(),
        alive=lambda: True,
        registry=registry,
    ):
        on_start()
        async with asyncio.TaskGroup() as group:
            background = [group.create_task(each, name=name) for name, each in tasks.items()]
            await server.serve()
            for task in background:
                task.cancel()
