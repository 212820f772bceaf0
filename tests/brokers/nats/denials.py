"""Denials that a NATS server sends to a client."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Denials:
    """Denials that the server sent to a client: a denied request gets no other answer."""

    def __init__(self) -> None:
        self._told: list[str] = []

    async def note(self, error: Exception) -> None:
        self._told.append(str(error).lower())

    async def answer(self, request: Coroutine[Any, Any, T], subject: str) -> T | None:
        """Return the answer to a request, or None if its subject is denied."""
        asking = asyncio.create_task(request)
        while not asking.done():
            if any(f'"{subject}'.lower() in each for each in self._told):
                asking.cancel()
                await asyncio.wait({asking})
                return None
            await asyncio.wait({asking}, timeout=0.005)
        return asking.result()
