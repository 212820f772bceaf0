"""Replay store whose URL is in a file, such as a mounted Secret; changes are applied while it runs.

This allows rotating the store's password: let the server accept both, write the new one into the
Secret, and remove the old one once the log of every replica says that it has reconnected. Until
then, a replica keeps its current connections.
"""

import asyncio
import logging
import time
from pathlib import Path

from troth.replay.store import StoreUnavailableError
from troth.replay.valkey import PREFIX, Valkey

LOOK_EVERY = 1.0
"""Interval in seconds to check the file, and a server that was found unfit."""
CHECK_EVERY = 60.0
"""Interval in seconds to check a server that was found fit."""

log = logging.getLogger(__name__)


class StoreFile:
    """File with the URL of a replay store, and the store."""

    def __init__(self, path: Path, *, prefix: str = PREFIX) -> None:
        """Raise `OSError` if the file is unreadable, `ValueError` if its URL is invalid."""
        self._path = path
        self._url = self._told = _read(path)
        self._checked = time.monotonic()
        self.store = Valkey(self._url, prefix=prefix)

    async def follow(self) -> None:
        """Check the file and the server until cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY)
            await self.look()
            if self.store.unfit or time.monotonic() - self._checked >= CHECK_EVERY:
                await self.store.look()
                self._checked = time.monotonic()

    async def look(self) -> None:
        """Use the URL in the file if it has changed; an unusable one is logged once."""
        try:
            url = _read(self._path)
        except (OSError, ValueError):  # perhaps only while it is replaced: keep the current URL
            return
        if url == self._url:
            self._told = url
            return
        try:
            await self.store.reconnect(url)
        except (ValueError, StoreUnavailableError) as error:
            if url != self._told:
                log.warning("replay store not reconnected: %s", error)
            self._told = url
            return
        self._url = self._told = url
        log.info("replay store reconnected")


def _read(path: Path) -> str:
    return path.read_text("utf-8").strip()
