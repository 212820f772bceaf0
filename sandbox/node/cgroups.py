"""The control groups of a node, which the kernel does not remove with its namespaces.

All control groups of a node are below one, whose name contains the process ID of the sandbox's
owner.

Run as a script, this module is the *reaper* that removes them. Its standard input is a pipe that
its owner holds open. When the owner ends, and all processes of the sandbox with it, the reaper
waits until they are gone. Then it removes the control group and the sandbox's directory, to which a
process may still have written. The module uses only the standard library, so that the reaper starts
fast.

    cgroups.py OWNER_PID DIRECTORY [CONTROL_GROUP]

If the reaper is killed too, the next node that starts on this machine removes the control groups.
"""

import contextlib
import os
import secrets
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

PREFIX = "troth-sandbox-"
ROOT = Path("/sys/fs/cgroup")

OWNER_CHECK_SECONDS = 1.0
LIMIT_SECONDS = 60.0
POLL_SECONDS = 0.02


def create() -> str:
    """Create an empty control group in every hierarchy; return its name."""
    name = f"{PREFIX}{os.getpid()}-{secrets.token_hex(4)}"
    for hierarchy in _hierarchies():
        (hierarchy / name).mkdir()
    return name


def processes(name: str, container: str) -> Iterator[int]:
    """Yield the process IDs of a container, as seen from this PID namespace."""
    for group in _groups(name):
        for members in group.glob(f"**/{container}/cgroup.procs"):
            yield from map(int, members.read_text().split())


def remove(name: str) -> bool:
    """Remove a control group and all groups below it; return whether it is gone."""
    for group in _groups(name):
        with contextlib.suppress(OSError):  # a process is still in it
            for directory, _, _ in os.walk(group, topdown=False):
                Path(directory).rmdir()
    return not list(_groups(name))


def sweep() -> None:
    """Remove control groups whose owner no longer runs and whose reaper did not remove them."""
    for name in {group.name for group in _groups(f"{PREFIX}*")}:
        owner = name.removeprefix(PREFIX).partition("-")[0]
        if not Path("/proc", owner).exists():
            remove(name)


@contextlib.contextmanager
def reaped(directory: Path, name: str) -> Iterator[None]:
    """Remove a directory and a control group when the context or this process ends."""
    group = [name] if name else []
    reaper = subprocess.Popen(
        [sys.executable, "-I", "-S", __file__, str(os.getpid()), str(directory), *group],
        stdin=subprocess.PIPE,
        start_new_session=True,  # so that Ctrl-C in the terminal does not reach it
    )
    assert reaper.stdin
    try:
        yield
    finally:
        reaper.stdin.close()
        reaper.wait()


def main(owner: int, directory: str, name: str = "") -> None:
    """Wait for the end of the owner, then remove the directory and the control group."""
    for ignored in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(ignored, signal.SIG_IGN)
    # A child that the owner forked has a copy of the pipe, so also check the parent's process ID.
    while os.getppid() == owner:
        if select.select([0], [], [], OWNER_CHECK_SECONDS)[0] and not os.read(0, 1):
            break
    deadline = time.monotonic() + LIMIT_SECONDS
    while time.monotonic() < deadline:
        shutil.rmtree(directory, ignore_errors=True)
        if not Path(directory).exists() and (not name or remove(name)):
            return
        time.sleep(POLL_SECONDS)


def _groups(pattern: str) -> Iterator[Path]:
    for hierarchy in _hierarchies():
        yield from hierarchy.glob(pattern)


def _hierarchies() -> Iterator[Path]:
    """Yield the single hierarchy of cgroup v2, or all hierarchies of v1."""
    if (ROOT / "cgroup.controllers").exists():
        yield ROOT
    elif ROOT.exists():
        yield from (path for path in ROOT.iterdir() if path.is_dir() and not path.is_symlink())


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])
