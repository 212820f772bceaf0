"""A store around another, which forgets no mark that it could not make.

The target has taken a delivery, and just then the store is away: to the sender it is taken, and
should not come again. So the mark is owed, and made as soon as the store is there; meanwhile this
replica goes by it, and to the others the claim is still in flight until its lease lapses. What
remains: a store that is away for longer than a lease, and another replica that is asked about the
same delivery within `EVERY` of its return; and a gateway that is killed while it owes.
"""

import asyncio
from contextlib import suppress

import structlog

from troth.webhooks.gateway.replay.store import Claimed, Repeated, Store, StoreUnavailableError

EVERY = 0.25
"""Seconds between two attempts to make the marks that are owed."""
MOST = 100_000
"""Marks that are owed; with so many nothing more is let through."""

log = structlog.get_logger()


class Marking:
    """Claims and releases as the store within does, and makes every mark in the end."""

    def __init__(self, store: Store, most: int = MOST) -> None:
        self._store = store
        self._most = most
        self._owed: dict[bytes, tuple[Claimed, float]] = {}
        self._paying: asyncio.Task[None] | None = None

    @property
    def owed(self) -> int:
        """How many marks could not be made yet."""
        return len(self._owed)

    async def claim(self, key: bytes, lease: float) -> Claimed | Repeated:
        """Claim a delivery; raises `StoreUnavailableError`."""
        if key in self._owed:
            return Repeated.DONE
        if len(self._owed) >= self._most:
            raise StoreUnavailableError(
                "too many accepted deliveries are not recorded in the replay store yet"
            )
        found = await self._store.claim(key, lease)
        if key in self._owed:  # since: by the one whose claim has lapsed
            return Repeated.DONE
        return found

    async def done(self, claim: Claimed, window: float) -> None:
        """Mark a delivery as taken, now or as soon as the store is there."""
        # Owed first: whoever asks while the store is asked must hear of it.
        self._owed[claim.key] = claim, window
        try:
            await self._store.done(claim, window)
        except StoreUnavailableError as error:
            if self._paying is None or self._paying.done():
                log.warning("accepted deliveries not recorded yet", why=str(error))
                self._paying = asyncio.create_task(self._pay())
        else:
            self._owed.pop(claim.key, None)

    async def release(self, claim: Claimed) -> None:
        """Give up a claim; where the store is away, it lapses with its lease."""
        try:
            await self._store.release(claim)
        except StoreUnavailableError as error:
            log.warning("claim not released", why=str(error))

    async def close(self) -> None:
        """Try once more to make what is owed, and close the store."""
        if self._paying is not None:
            self._paying.cancel()
            with suppress(asyncio.CancelledError):
                await self._paying
        await self._pay_once()
        if self._owed:
            log.error("accepted deliveries not recorded", lost=len(self._owed))
        await self._store.close()

    async def _pay(self) -> None:
        while self._owed:
            await asyncio.sleep(EVERY)
            await self._pay_once()
        log.info("accepted deliveries recorded")

    async def _pay_once(self) -> None:
        with suppress(StoreUnavailableError):
            for key, (claim, window) in list(self._owed.items()):
                await self._store.done(claim, window)
                self._owed.pop(key, None)
