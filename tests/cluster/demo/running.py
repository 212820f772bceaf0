"""The demo as a user starts it, and checkouts in which it is to find a fault."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.sandbox.observing import REPOSITORY

SECONDS = 570  # less than the time limit of a test, so that the failure shows the output


def environment(temporary: Path) -> dict[str, str]:
    """Return the user's environment without a cluster, and with a temporary directory."""
    kept = {key: text for key, text in os.environ.items() if key != "TROTH_SANDBOX_KUBECONFIG"}
    return {**kept, "TMPDIR": str(temporary), "KEEP": "", "BROKER": ""}


def demo(
    *arguments: str, env: dict[str, str], checkout: Path = REPOSITORY
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sandbox.demo", *arguments],
        cwd=checkout,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
    )


def mutated(tmp_path: Path, file: str, honest: str, careless: str) -> Path:
    """Return a checkout in which one file has different content."""
    checkout = tmp_path / "checkout"
    for folder in ("sandbox", "charts", "examples", "operator"):
        shutil.copytree(REPOSITORY / folder, checkout / folder)
    mutate(checkout / file, honest, careless)
    return checkout


def mutate(file: Path, honest: str, careless: str) -> None:
    text = file.read_text()
    assert text.count(honest) == 1
    file.write_text(text.replace(honest, careless))
