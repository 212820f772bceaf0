"""Processes of a tether end with its owner, even if the owner is killed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sandbox import SandboxError
from sandbox.processes import Tether
from tests.sandbox.observing import REPOSITORY, becomes, processes_of

# Two sleepers, one a child of a shell, with the directory in their command lines.
OWNER = """
import os, signal, sys, time
from pathlib import Path
from sandbox.processes import Tether

signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it
directory = Path(sys.argv[1])
with Tether(directory) as tether:
    script = f"sleep 600 & echo {directory}; touch {directory}/ready; wait"
    tether.start("shell", ["sh", "-c", script], log=directory / "log")
    tether.start("tail", ["tail", "-f", directory / "log"], log=directory / "tail.log")
    if "fork" in sys.argv and not os.fork():
        time.sleep(5)
        os._exit(0)
    time.sleep(600)
"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    path = tmp_path / "tethered"
    path.mkdir()
    return path


def owner(directory: Path, *arguments: str) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(directory), *arguments],
        cwd=REPOSITORY,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    assert becomes((directory / "ready").exists)
    return process


def nothing_is_left(directory: Path) -> bool:
    return becomes(lambda: not processes_of(directory) and not directory.exists())


def test_processes_and_directory_are_removed_when_the_owner_is_killed(directory: Path) -> None:
    with owner(directory) as process:
        process.kill()
        assert nothing_is_left(directory)


def test_processes_and_directory_are_removed_on_ctrl_c(directory: Path) -> None:
    with owner(directory) as process:
        os.killpg(process.pid, signal.SIGINT)  # a terminal signals the whole group
        assert nothing_is_left(directory)


def test_forked_child_of_the_owner_does_not_keep_processes_alive(directory: Path) -> None:
    with owner(directory, "fork") as process:
        process.kill()
        assert becomes(lambda: not directory.exists(), seconds=4)


@pytest.mark.skipif(sys.platform != "linux", reason="needs PR_SET_PDEATHSIG")
def test_processes_end_even_if_the_tether_is_killed(directory: Path) -> None:
    with Tether(directory) as tether:
        log = directory / "log"
        log.touch()
        tether.start("tail", ["tail", "-f", log], log=directory / "tail.log")
        tether._tether.kill()
        assert becomes(lambda: not processes_of(log))
        with pytest.raises(SandboxError, match="has been killed"):
            tether.poll("tail")
    assert not directory.exists()


def test_process_that_ignores_sigterm_is_killed_after_the_grace_period(directory: Path) -> None:
    with Tether(directory) as tether:
        script = f"trap '' TERM; touch {directory}/ready; while :; do sleep 0.1; done"
        tether.start("stubborn", ["sh", "-c", script], log=directory / "log")
        assert becomes((directory / "ready").exists)
        began = time.monotonic()
        tether.stop("stubborn", grace=0.2)
        assert time.monotonic() - began >= 0.2
        assert not processes_of("trap '' TERM")


def test_poll_returns_how_a_process_ended(directory: Path) -> None:
    with Tether(directory) as tether:
        tether.start("short", ["sh", "-c", "exit 7"], log=directory / "log")
        assert becomes(lambda: tether.poll("short") is not None)
        assert tether.poll("short") == 7


def test_process_name_is_in_use_until_it_stops(directory: Path) -> None:
    with Tether(directory) as tether:
        tether.start("it", ["sleep", "600"], log=directory / "log")
        with pytest.raises(SandboxError, match="it: runs already"):
            tether.start("it", ["sleep", "600"], log=directory / "log")
        tether.stop("it", grace=0)
        with pytest.raises(SandboxError, match="it: was not started"):
            tether.stop("it", grace=0)
        assert tether.start("it", ["sleep", "600"], log=directory / "log")


def test_missing_program_is_named(directory: Path) -> None:
    with Tether(directory) as tether, pytest.raises(SandboxError, match="/no/such/etcd"):
        tether.start("etcd", ["/no/such/etcd"], log=directory / "log")
