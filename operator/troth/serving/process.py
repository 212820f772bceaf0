"""A process that serves, and follows beside it what it serves by: the issuer, or the gateway."""

import asyncio
import gc
import logging
import signal
from collections.abc import Coroutine, Mapping
from typing import Any, Protocol

YOUNG = 50_000
"""Objects made before Python looks for cycles among them; requests leave next to none."""


class Endpoint(Protocol):
    """What is served."""

    async def serve(self) -> None:
        """Serve until stopped."""

    def stop(self) -> None:
        """Answer what is there, and return from `serve`."""


def prepare() -> None:
    """Have requests wait for no garbage collector, and the log say what Troth says."""
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    gc.set_threshold(YOUNG)
    gc.freeze()


def stop_on_signal(endpoint: Endpoint) -> None:
    """Have SIGTERM and SIGINT stop it."""
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, endpoint.stop)


async def serve(endpoint: Endpoint, beside: Mapping[str, Coroutine[Any, Any, None]]) -> None:
    """Serve until stopped, with tasks of these names beside it, which go on to the end.

    Raises what a part of it ended with.
    """
    async with asyncio.TaskGroup() as tasks:
        following = [tasks.create_task(each, name=name) for name, each in beside.items()]
        await endpoint.serve()
        for task in following:
            task.cancel()
