"""What files look like from outside: enough to see that one was written, or replaced."""

from collections.abc import Iterable
from pathlib import Path

Look = tuple[tuple[int, int, int] | None, ...]
"""Of each file its inode, its size in bytes and when it was written (ns); None where it is not."""


def look_at(paths: Iterable[Path]) -> Look:
    """Look at files, through links, without reading them."""
    return tuple(_stat(path) for path in paths)


def _stat(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
