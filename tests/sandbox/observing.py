"""Observations for tests of processes."""

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from tests.patience import PATIENCE

REPOSITORY = Path(__file__).parents[2]


def processes_of(mention: Path | str) -> list[str]:
    """Return the command lines that contain `mention`, without zombies."""
    if Path("/proc/self/cmdline").exists():
        lines = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(process.name) != os.getpid():
                lines.append(command)
    else:
        lines = subprocess.check_output(["ps", "-axo", "command="], text=True).splitlines()
    return [line for line in lines if str(mention) in line]


def becomes(condition: Callable[[], bool], seconds: float = PATIENCE) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def executable(path: Path, script: str = "") -> Path:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path
