"""The replay store whose URL is in a file, as a Secret is mounted: followed while it is used.

Where the file says anything else the store turns to that, so that its password can be replaced:
let the server take both, write the next one into the Secret, and take the one before back when the
log says of every replica that it has connected anew. Until it can, it goes on as it is connected.
"""

import asyncio
import time
from pathlib import Path

import structlog

from troth.webhooks.gateway.replay.store import StoreUnavailableError
from troth.webhooks.gateway.replay.valkey import Valkey

LOOK_EVERY = 1.0
"""Seconds between two looks at the file, and at a server that was found unfit."""
CHECK_EVERY = 60.0
"""Seconds between two looks at a server that was fit."""

log = structlog.get_logger()


class StoreFile:
    """A file with the URL of a replay store, and the store."""

    def __init__(self, path: Path) -> None:
        """Raise `OSError` where the file cannot be read, and `ValueError` where its URL cannot."""
        self._path = path
        self._url = self._told = _read(path)
        self._checked = time.monotonic()
        self.store = Valkey(self._url)

    async def follow(self) -> None:
        """Look at the file and at the server until cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY)
            await self.look()
            if self.store.unfit or time.monotonic() - self._checked >= CHECK_EVERY:
                await self.store.look()
                self._checked = time.monotonic()

    async def look(self) -> None:
        """Turn to what the file says, if that is another URL; what is of no use is told once."""
        try:
            url = _read(self._path)
        except (OSError, ValueError):  # between two versions, or for good: what is known holds
            return
        if url == self._url:
            self._told = url
            return
        try:
            await self.store.connect_anew(url)
        except (ValueError, StoreUnavailableError) as error:
            if url != self._told:
                log.warning("replay store not reconnected", why=str(error))
            self._told = url
            return
        self._url = self._told = url
        log.info("replay store reconnected")


def _read(path: Path) -> str:
    return path.read_text("utf-8").strip()
