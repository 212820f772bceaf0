"""The control groups of a node, which the kernel does not take away with its namespaces.

All of a node's are below one, whose name has the process id of the sandbox's owner.

Run as a script, this is the *reaper* that removes them. Its standard input is a pipe that its
owner holds open. However the owner ends, and all processes of the sandbox with it, the reaper stays
for the moment it takes them to die; then it removes the control group, and the sandbox's directory
too, in case one of them wrote there to the last. It uses the standard library only, so that it
starts in no time.

    cgroups.py OWNER_PID DIRECTORY [CONTROL_GROUP]

If the reaper is killed as well, the next node that starts on this machine sweeps up.
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
    """Make an empty control group, in every hierarchy; return its name."""
    name = f"{PREFIX}{os.getpid()}-{secrets.token_hex(4)}"
    for hierarchy in _hierarchies():
        (hierarchy / name).mkdir()
    return name


def processes(name: str, container: str) -> Iterator[int]:
    """Yield the processes of a container, by the numbers of this pid namespace."""
    for group in _groups(name):
        for members in group.glob(f"**/{container}/cgroup.procs"):
            yield from map(int, members.read_text().split())


def remove(name: str) -> bool:
    """Remove a control group with all below it; return whether it is gone."""
    for group in _groups(name):
        with contextlib.suppress(OSError):  # somebody is in it still
            for directory, _, _ in os.walk(group, topdown=False):
                Path(directory).rmdir()
    return not list(_groups(name))


def sweep() -> None:
    """Remove the control groups of owners that are gone, and whose reapers are too."""
    for name in {group.name for group in _groups(f"{PREFIX}*")}:
        owner = name.removeprefix(PREFIX).partition("-")[0]
        if not Path("/proc", owner).exists():
            remove(name)


@contextlib.contextmanager
def reaped(directory: Path, name: str) -> Iterator[None]:
    """Have a directory and a control group removed when the context ends, or this process does."""
    group = [name] if name else []
    reaper = subprocess.Popen(
        [sys.executable, "-I", "-S", __file__, str(os.getpid()), str(directory), *group],
        stdin=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C in the terminal must not reach it
    )
    assert reaper.stdin
    try:
        yield
    finally:
        reaper.stdin.close()
        reaper.wait()


def main(owner: int, directory: str, name: str = "") -> None:
    """Wait for the end of the owner, then clear up."""
    for ignored in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(ignored, signal.SIG_IGN)
    # A child that the owner forked has a copy of the pipe, so its process id is looked at as well.
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
    """Yield the one hierarchy there is, or the many of version 1."""
    if (ROOT / "cgroup.controllers").exists():
        yield ROOT
    elif ROOT.exists():
        yield from (path for path in ROOT.iterdir() if path.is_dir() and not path.is_symlink())


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])
