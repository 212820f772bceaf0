"""Programs that judge, skipped if the machine does not have them."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.patience import PATIENCE


@dataclass(frozen=True)
class Tool:
    """A program, called with its arguments."""

    path: str

    def __call__(self, *arguments: str | Path) -> tuple[bool, str]:
        """Return whether it succeeded, and its output."""
        done = subprocess.run(
            [self.path, *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        return done.returncode == 0, done.stdout


def tool(name: str) -> Tool:
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not on this machine, so it cannot judge")
    return Tool(path)
