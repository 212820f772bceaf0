"""Where the sandbox keeps what it built, outside the checkout."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sandbox.progress import waiting


def cache_directory() -> Path:
    """Return the directory of everything the sandbox keeps: `$XDG_CACHE_HOME/troth-sandbox`."""
    root = os.environ.get("XDG_CACHE_HOME")
    return (Path(root) if root else Path.home() / ".cache") / "troth-sandbox"


@contextmanager
def locked(path: Path, *, meanwhile: str) -> Iterator[None]:
    """Hold the lock of `path`; while another process does, wait and show `meanwhile`.

    The kernel frees the lock when its holder ends, however it ends; the lock file beside `path`
    stays, since removing it would let two processes hold locks of one name.
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
    """Take the lock of an open file unless somebody holds it; say whether it is ours now."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
