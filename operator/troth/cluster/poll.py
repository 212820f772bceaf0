"""A second look at what a watch tells of.

A watch tells at once, unless it is dead and nobody knows yet, which may take minutes. What was
withdrawn must not live on for so long.
"""

import asyncio
from collections.abc import Awaitable, Callable

from troth.cluster.errors import ApiError
from troth.world.origin import origin


async def poll(
    look: Callable[[], Awaitable[None]], every: float, on_failure: Callable[[ApiError], None]
) -> None:
    """Look every so many seconds until cancelled.

    `on_failure` is told what the API server answered, and not that it is away: the watch tells.
    """
    while True:
        await asyncio.sleep(every)
        try:
            await look()
        except ApiError as error:
            if error.status:
                on_failure(error)
        except Exception as error:  # noqa: BLE001 - one look at one object ends no others
            on_failure(ApiError(0, origin(error), ""))
