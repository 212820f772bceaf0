"""Polling in addition to a watch.

A dead watch can go unnoticed for minutes. Revoked credentials must not stay in use for so long.
"""

import asyncio
from collections.abc import Awaitable, Callable

from troth.cluster.errors import ApiError
from troth.world.origin import origin


async def poll(
    look: Callable[[], Awaitable[None]], every: float, on_failure: Callable[[ApiError], None]
) -> None:
    """Call `look` every `every` seconds until cancelled.

    `on_failure` gets errors of the API server, but not that it is unreachable: the watch reports
    that.
    """
    while True:
        await asyncio.sleep(every)
        try:
            await look()
        except ApiError as error:
            if error.status:
                on_failure(error)
        except Exception as error:  # noqa: BLE001 - one failure must not end the polling
            on_failure(ApiError(0, origin(error), ""))
