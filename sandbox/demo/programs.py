"""Troth's programs as processes, each with the rights that the chart grants it and no more."""

import os
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from sandbox.control_plane import free_port
from sandbox.demo.errors import DemoError
from sandbox.demo.loopback import LOOPBACK
from sandbox.demo.namespaces import own
from sandbox.processes import Tether, tail

NAMESPACE = own("troth-system")
NAME = "troth"
LEASE = "4s"
SECONDS = 60.0
PAUSE = 0.05


class Program(NamedTuple):
    """A process of `troth`: its name, its log, and the ServiceAccount that it runs as."""

    name: str
    log: Path
    namespace: str
    kubeconfig: Path


def run_operator(tether: Tether, kubeconfig: Path, log: Path, *, lease: str = "15s") -> int:
    """Start `troth run`; return its process id when its caches are in sync.

    `lease` is the time after which another copy may take over from one that was killed.
    """
    health = free_port()
    arguments = ("run", f"--listen={LOOPBACK}:{health}", f"--lease-duration={lease}")
    return run_program(tether, Program(NAME, log, NAMESPACE, kubeconfig), arguments, health)


def run_program(tether: Tether, program: Program, arguments: tuple[str, ...], health: int) -> int:
    """Start a command of `troth`; return its process id when it is ready at the port `health`.

    Raises `DemoError` with the end of its log if it ends or takes too long.
    """
    command, *options = arguments
    process = tether.start(
        program.name,
        [
            *(sys.executable, "-m", "troth.cli", command),
            *(f"--kubeconfig={program.kubeconfig}", f"--namespace={program.namespace}"),
            *options,
        ],
        log=program.log,
        # the client library writes CA and keys to temporary files; these go with the directory
        env=os.environ | {"TMPDIR": str(tether.directory)},
    )
    _wait_until(lambda: _is_ready(health), tether, program.name, program.log)
    return process


def await_listening(tether: Tether, name: str, port: int, log: Path) -> None:
    """Wait until a process listens on loopback; raises `DemoError` as `run_program` does."""
    _wait_until(lambda: _listens(port), tether, name, log)


def _wait_until(holds: Callable[[], bool], tether: Tether, name: str, log: Path) -> None:
    deadline = time.monotonic() + SECONDS
    while not holds():
        if tether.poll(name) is not None or time.monotonic() > deadline:
            raise DemoError(f"{name} did not become ready; the end of its log:\n{tail(log)}")
        time.sleep(PAUSE)


def _is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://{LOOPBACK}:{port}/readyz", timeout=1):
            return True
    except (urllib.error.URLError, TimeoutError, ConnectionError):
        return False


def _listens(port: int) -> bool:
    try:
        with socket.create_connection((LOOPBACK, port), timeout=1):
            return True
    except OSError:
        return False
