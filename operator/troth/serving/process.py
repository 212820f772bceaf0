"""The process setup of issuer and gateway: a server with background tasks, health and signals."""

import asyncio
import gc
import logging
import signal
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AsyncExitStack
from typing import Any

from prometheus_client import CollectorRegistry

from troth.serving.garbage import collect_seldom
from troth.serving.health import health_server
from troth.serving.http_server import HTTPServer
from troth.serving.loop_stalls import stalls_measured
from troth.serving.workers.link import Link


def prepare() -> None:
    """Reduce garbage collection pauses, and silence uvicorn's log messages."""
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    collect_seldom()
    gc.freeze()


async def serve(
    server: HTTPServer,
    tasks: Mapping[str, Coroutine[Any, Any, None]],
    *,
    ready: Callable[[], bool],
    health_listen: tuple[str, int],
    registry: CollectorRegistry,
    on_start: Callable[[], None],
    link: Link | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT, with named background tasks and the health endpoints.

    The server listens at once; readiness also waits for `ready`. If any part fails, its error is
    raised and the process ends, so a process that answers is alive. A worker answers its supervisor
    over the link instead, and stops if it is gone.
    """

    def is_ready() -> bool:
        return server.started and ready()

    running = dict(tasks)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, server.stop)
    async with AsyncExitStack() as stack:
        if link is None:
            health = health_server(
                *health_listen, ready=is_ready, alive=lambda: True, registry=registry
            )
            await stack.enter_async_context(health)
        else:
            await stack.enter_async_context(stalls_measured(registry))
            running["supervisor"] = link.answer(
                ready=is_ready, registry=registry, on_lost=server.stop
            )
        on_start()
        async with asyncio.TaskGroup() as group:
            background = [group.create_task(each, name=name) for name, each in running.items()]
            await server.serve()
            for task in background:
                task.cancel()
