"""Versions of Troth: this one, and the one before it."""

import io
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from sandbox import Sandbox
from tests.cluster.conftest import await_crds
from tests.cluster.process import CHECKOUT

EARLIER = "d0a2d1461abaeb7bbb5f42384e52b541be57511a"
"""Last commit before the hardening, which changed CRDs incompatibly.

There is no release yet. This commit has everything that rotates, and its CRDs, statuses and owned
objects differ from today's as much as those of any version.
"""
NEEDED = ("operator", "crds", "tests/cluster/tokens/hasty.py")


@dataclass(frozen=True)
class Release:
    """The source of a version."""

    checkout: Path

    def install_crds(self, sandbox: Sandbox) -> None:
        """Apply its CRDs over those of another version."""
        path = str(self.checkout / "crds")
        sandbox.kubectl("apply", "--server-side", "--force-conflicts", "-f", path)
        await_crds(sandbox)


PRESENT = Release(CHECKOUT)


def earlier(directory: Path) -> Release:
    """Extract the earlier version; skip the test if this clone does not have its commit."""
    archive = subprocess.run(
        ["git", "-C", str(CHECKOUT), "archive", EARLIER, *NEEDED], capture_output=True, check=False
    )
    if archive.returncode:
        pytest.skip(f"this clone has no commit {EARLIER[:8]}; fetch the whole history")
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
        files.extractall(directory, filter="data")
    return Release(directory)
