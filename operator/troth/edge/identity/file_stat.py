"""File metadata that shows whether a file was written or replaced."""

from collections.abc import Iterable
from pathlib import Path

Look = tuple[tuple[int, int, int] | None, ...]
"""For each file, its inode, size in bytes and modification time in ns; None if it is missing."""


def look_at(paths: Iterable[Path]) -> Look:
    """Return the metadata of files, following links, without reading them."""
    return tuple(_stat(path) for path in paths)


def _stat(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
