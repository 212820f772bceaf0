"""Servers of uvicorn look often whether they shall end.

By default they look every 0.1 s, and so each test with a server waits 0.2 to 0.3 s for its end.
"""

import asyncio
from types import SimpleNamespace

from uvicorn import server

FASTER = 20


async def _sleep(seconds: float) -> None:
    await asyncio.sleep(seconds / FASTER)


setattr(server, "asyncio", SimpleNamespace(**vars(asyncio) | {"sleep": _sleep}))  # noqa: B010 - mypy knows the module as constant
