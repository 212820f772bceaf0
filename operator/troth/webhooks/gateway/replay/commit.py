"""Store that keeps marks which another store could not make, and makes them later.

If the store becomes unavailable just after a target has accepted a delivery, the sender still gets
a success and does not retry. So the mark is pending and is made once the store is available.
Meanwhile this replica knows the mark, and other replicas see the claim until its lease ends.
Two gaps remain. A store can be unavailable for longer than a lease, and another replica can get the
same delivery within `EVERY` of its return. And a gateway can be killed with pending marks.
"""

import asyncio
from contextlib import suppress

import structlog

from troth.replay.store import Claimed, Repeated, Store, StoreUnavailableError

EVERY = 0.25
"""Time in seconds between two attempts to make pending marks."""
MOST = 100_000
"""Maximum number of pending marks; with so many, no delivery is accepted."""

log = structlog.get_logger()


class RetryingStore:
    """Store that claims and releases like the inner store, and eventually makes every mark."""

    def __init__(self, store: Store, most: int = MOST) -> None:
        self._store = store
        self._most = most
        self._pending: dict[bytes, tuple[Claimed, float, bytes]] = {}
        self._flushing: asyncio.Task[None] | None = None

    @property
    def pending(self) -> int:
        """Number of pending marks."""
        return len(self._pending)

    async def claim(self, key: bytes, lease: float) -> Claimed | Repeated:
        """Claim a delivery; raises `StoreUnavailableError`."""
        if key in self._pending:
            return Repeated.DONE
        if len(self._pending) >= self._most:
            raise StoreUnavailableError(
                "too many accepted deliveries are not recorded in the replay store yet"
            )
        found = await self._store.claim(key, lease)
        if key in self._pending:  # marked meanwhile, by a request whose claim had lapsed
            return Repeated.DONE
        return found

    async def done(self, claim: Claimed, window: float, value: bytes = b"") -> None:
        """Mark a delivery as accepted, now or once the store is available."""
        # Pending first, so that a claim in the meantime sees the mark.
        self._pending[claim.key] = claim, window, value
        try:
            await self._store.done(claim, window, value)
        except StoreUnavailableError as error:
            if self._flushing is None or self._flushing.done():
                log.warning("accepted deliveries not recorded yet", why=str(error))
                self._flushing = asyncio.create_task(self._flush())
        else:
            self._pending.pop(claim.key, None)

    async def value(self, key: bytes) -> bytes | None:
        """Return the value of a mark, also of a pending one; raises `StoreUnavailableError`."""
        if key in self._pending:
            return self._pending[key][2]
        return await self._store.value(key)

    async def release(self, claim: Claimed) -> None:
        """Release a claim; if the store is unavailable, its lease ends it."""
        try:
            await self._store.release(claim)
        except StoreUnavailableError as error:
            log.warning("claim not released", why=str(error))

    async def close(self) -> None:
        """Try once more to make pending marks, and close the store."""
        if self._flushing is not None:
            self._flushing.cancel()
            with suppress(asyncio.CancelledError):
                await self._flushing
        await self._flush_once()
        if self._pending:
            log.error("accepted deliveries not recorded", lost=len(self._pending))
        await self._store.close()

    async def _flush(self) -> None:
        while self._pending:
            await asyncio.sleep(EVERY)
            await self._flush_once()
        log.info("accepted deliveries recorded")

    async def _flush_once(self) -> None:
        with suppress(StoreUnavailableError):
            for key, (claim, window, value) in list(self._pending.items()):
                await self._store.done(claim, window, value)
                self._pending.pop(key, None)
