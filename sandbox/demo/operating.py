"""The operator as a process of its own, with no more rights than the chart gives it."""

import os
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from sandbox.control_plane import free_port
from sandbox.demo.errors import DemoError
from sandbox.processes import Tether, tail

NAMESPACE = "troth-system"
NAME = "troth"
LEASE = "4s"
SECONDS = 30.0


def run_operator(tether: Tether, kubeconfig: Path, log: Path, *, lease: str = "15s") -> int:
    """Start `troth run`; return its process id once its caches are in sync.

    `lease` is for how long another copy waits when this one is gone without a word.
    """
    port = free_port()
    process = tether.start(
        NAME,
        [
            *(sys.executable, "-m", "troth.cli", "run"),
            f"--kubeconfig={kubeconfig}",
            f"--namespace={NAMESPACE}",
            f"--listen=127.0.0.1:{port}",
            f"--lease-duration={lease}",
        ],
        log=log,
        # the client library writes CA and keys to temporary files; these go with the directory
        env=os.environ | {"TMPDIR": str(tether.directory)},
    )
    await_ready(tether, NAME, "the operator", port, log)
    return process


def await_ready(tether: Tether, name: str, who: str, port: int, log: Path) -> None:
    """Wait until a process says at `/readyz` that it is ready.

    Raises `DemoError`, with the end of its log, if it has ended or takes too long.
    """
    deadline = time.monotonic() + SECONDS
    while not _is_ready(port):
        if tether.poll(name) is not None or time.monotonic() > deadline:
            raise DemoError(f"{who} did not become ready; the end of its log:\n{tail(log)}")
        time.sleep(0.05)


def _is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=1):
            return True
    except (urllib.error.URLError, TimeoutError, ConnectionError):
        return False
