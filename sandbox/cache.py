"""The sandbox's cache of built programs, outside the checkout."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sandbox.progress import waiting


def cache_directory() -> Path:
    """Return the directory of all cached files: `$XDG_CACHE_HOME/troth-sandbox`."""
    root = os.environ.get("XDG_CACHE_HOME")
    return (Path(root) if root else Path.home() / ".cache") / "troth-sandbox"


@contextmanager
def locked(path: Path, *, meanwhile: str) -> Iterator[None]:
    """Hold the lock of `path`; show `meanwhile` while another process holds it.

    The kernel releases the lock when its holder ends, even after a crash. The lock file beside
    `path` stays, because two processes could otherwise lock two files of the same name.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f"{path.name}.lock").open("a") as file:
        if not try_lock(file.fileno()):
            with waiting(meanwhile) as beat:
                while not try_lock(file.fileno()):
                    beat()
                    time.sleep(0.1)
        yield


def try_lock(descriptor: int) -> bool:
    """Lock an open file unless another process holds the lock; return whether it is locked now."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
