"""Verification of deliveries: those with large bodies in threads.

Hashing a large body takes milliseconds for each key, and the sender is not known before. In a
thread it delays other large deliveries, but neither small ones nor connections.
"""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from troth.serving.connection import LARGEST_BODY
from troth.webhooks.gateway.answers import RefusalError
from troth.webhooks.gateway.routes import Served
from troth.webhooks.schemes.delivery import Delivery
from troth.webhooks.schemes.scheme import Key, Verified

INLINE = 16 * 1024
"""Maximum size in bytes of a body that is verified on the event loop. Verifying so much takes about
as long as handing it to a thread and back.
"""
MOST_WAITING = 64 * 1024 * 1024
"""Maximum size in bytes of all bodies that wait for a thread or are in one. Workers divide it, down
to `LARGEST_BODY` each."""
_THREADS = 2


class Verifier:
    """Verifies the deliveries of one gateway."""

    def __init__(self, workers: int = 1) -> None:
        """`workers` processes divide the total size of waiting bodies."""
        self._most = max(MOST_WAITING // workers, LARGEST_BODY)
        self.waiting = 0
        """Size in bytes of the bodies that wait for a thread or are in one."""
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="verification")

    async def verify(
        self, served: Served, delivery: Delivery, keys: Sequence[Key], now: float
    ) -> Verified:
        """Return the verified facts of a delivery.

        Raises `RefusedError` as the scheme does, and `RefusalError` if too many bodies wait.
        """
        verify, tolerance = served.scheme.verify, served.endpoint.tolerance
        size = len(delivery.body)
        if size <= INLINE:
            return verify(delivery, keys, now, tolerance)
        if self.waiting + size > self._most:
            raise RefusalError(503, "busy", retry=True)
        self.waiting += size
        loop = asyncio.get_running_loop()
        work = loop.run_in_executor(self._threads, verify, delivery, keys, now, tolerance)
        work.add_done_callback(lambda _: self._done(size))
        return await work

    def _done(self, size: int) -> None:
        self.waiting -= size

    def close(self) -> None:
        """End the threads after their current work."""
        self._threads.shutdown(wait=False, cancel_futures=True)
