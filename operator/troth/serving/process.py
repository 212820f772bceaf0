"""The serve loop of issuer and gateway: a server with background tasks."""

import asyncio
import gc
import logging
import signal
from collections.abc import Coroutine, Mapping
from typing import Any, Protocol

YOUNG = 50_000
"""Allocations between collections of the youngest generation; requests leave few cycles."""


class Endpoint(Protocol):
    """A server that can be stopped."""

    async def serve(self) -> None:
        """Serve until stopped."""

    def stop(self) -> None:
        """Answer pending requests, then return from `serve`."""


def prepare() -> None:
    """Reduce garbage collection pauses, and silence uvicorn's log messages."""
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    gc.set_threshold(YOUNG)
    gc.freeze()


def stop_on_signal(endpoint: Endpoint) -> None:
    """Stop the endpoint on SIGTERM and SIGINT."""
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, endpoint.stop)


async def serve(endpoint: Endpoint, beside: Mapping[str, Coroutine[Any, Any, None]]) -> None:
    """Serve until stopped, with named background tasks that run until then.

    Raises the error of a part that ends.
    """
    async with asyncio.TaskGroup() as tasks:
        following = [tasks.create_task(each, name=name) for name, each in beside.items()]
        await endpoint.serve()
        for task in following:
            task.cancel()
