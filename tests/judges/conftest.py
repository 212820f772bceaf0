"""The judges: programs that are not ours, each asked only where the machine has it."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

JUDGE_SOURCES = Path(__file__).parents[2] / "sandbox" / "judge"


@dataclass(frozen=True)
class Tool:
    """A program and what it says when run."""

    path: str

    def __call__(self, *arguments: str | Path) -> tuple[bool, str]:
        """Whether it succeeded, and all it printed."""
        done = subprocess.run(
            [self.path, *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )
        return done.returncode == 0, done.stdout


def tool(name: str) -> Tool:
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not on this machine, so it cannot judge")
    return Tool(path)


@pytest.fixture(scope="session")
def openssl() -> Tool:
    return tool("openssl")


@pytest.fixture(scope="session")
def keytool() -> Tool:
    return tool("keytool")


@pytest.fixture(scope="session")
def java() -> Tool:
    found = tool("java")
    _, modules = found("--list-modules")
    if "jdk.compiler" not in modules:
        pytest.skip("java here is without a compiler, so it cannot run the path judge")
    return found


@pytest.fixture(scope="session")
def svid_judge(tmp_path_factory: pytest.TempPathFactory) -> Tool:
    """go-spiffe's verdict, from `sandbox/judge`."""
    go = tool("go")
    binary = tmp_path_factory.mktemp("judge") / "svid-judge"
    built = subprocess.run(
        [go.path, "build", "-trimpath", "-o", str(binary), "."],
        cwd=JUDGE_SOURCES,
        env={**os.environ, "CGO_ENABLED": "0"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    return Tool(str(binary))
