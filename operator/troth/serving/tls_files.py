"""A server's TLS context that follows mounted files.

A server keeps the context that it starts with. Roots can be added to a context but not removed, so
each handshake switches to a context made from the files as last read. In a kubelet's mount, only
the target of the link `..data` is read, which holds one version of all files.
"""

import asyncio
import ssl
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import structlog

from troth.edge.identity.file_stat import Look, look_at

LOOK_INTERVAL = 1.0
"""Seconds between two checks of the files."""

log = structlog.get_logger()


class TLSFilesError(Exception):
    """The files of a directory cannot be used. The text quotes nothing of the files."""


class TLSFiles(ABC):
    """Keeps a TLS context current with the files of a directory. `context` is for the server."""

    names: ClassVar[tuple[str, ...]]
    """Names of the files."""
    unusable: ClassVar[str]
    """Message of a `TLSFilesError`, with `{}` for the reason."""

    def __init__(self, directory: Path, context: ssl.SSLContext) -> None:
        """Load the files; raises `TLSFilesError` if they cannot be used."""
        self._directory = directory
        self._seen = self._look()
        self._newest = self._made()
        self._error = ""
        self.context = context
        self.context.sni_callback = self._hand_over

    @abstractmethod
    def _load(self, place: Path) -> ssl.SSLContext:
        """Return a context from the files in a folder; raises `OSError` or `ValueError`."""

    @abstractmethod
    def _loaded(self) -> None:
        """Log that the changed files are in use."""

    def _changed(self) -> bool:
        """Return whether the context is outdated although the files are the same."""
        return False

    def look(self) -> bool:
        """Load changed files; return whether new ones are in use.

        If the new files cannot be used, the previous ones stay in use.
        """
        seen = self._look()
        if seen == self._seen and not self._changed():
            return False
        try:
            self._newest = self._made()
        except TLSFilesError as error:
            if str(error) != self._error:
                log.warning("TLS files unusable", directory=str(self._directory), why=str(error))
            self._error = str(error)  # the next look tries again: files may be half written
            return False
        self._seen, self._error = seen, ""
        self._loaded()
        return True

    async def follow(self, on_change: Callable[[], None] = lambda: None) -> None:
        """Check the files until cancelled; call `on_change` after each change."""
        while True:
            await asyncio.sleep(LOOK_INTERVAL)
            if self.look():
                on_change()

    def _look(self) -> Look:
        return look_at(self._directory / name for name in self.names)

    def _made(self) -> ssl.SSLContext:
        place = self._directory / "..data"
        place = place.resolve() if place.exists() else self._directory
        try:
            return self._load(place)
        except (OSError, ValueError) as error:  # includes SSLError; neither quotes a file
            kind = getattr(error, "reason", None) or getattr(error, "strerror", None)
            raise TLSFilesError(self.unusable.format(kind or "unreadable")) from None

    def _hand_over(self, connection: ssl.SSLObject, _name: str | None, _: ssl.SSLContext) -> None:
        """Switch a handshake to the newest context, even if the client names no server."""
        connection.context = self._newest
