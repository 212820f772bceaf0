"""`python -m sandbox up` and `down`."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sandbox.observing import REPOSITORY, becomes, processes_of


@pytest.fixture
def command(assets: Path, cache: Path) -> "Command":
    return Command({**os.environ, "KUBEBUILDER_ASSETS": str(assets)}, cache / "clusters")


class Command:
    def __init__(self, environment: dict[str, str], clusters: Path) -> None:
        self._environment = environment
        self.clusters = clusters

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "sandbox", *arguments],
            cwd=REPOSITORY,
            env=self._environment,
            text=True,
            capture_output=True,
            check=False,
        )


@pytest.mark.long
def test_sandbox_starts_with_up_and_ends_with_down(command: Command) -> None:
    try:
        first = command("up")
        assert "The sandbox is up." in first.stdout, first.stderr
        assert "up already" in command("up").stdout
        assert command("status").returncode == 0

        shell = 'eval "$1" && kubectl get namespaces -o name && helm list'
        exports = command("env").stdout
        used = subprocess.run(["sh", "-ec", shell, "-", exports], capture_output=True, check=True)
        assert b"namespace/kube-system" in used.stdout
    finally:
        ended = command("down")
    assert "is down" in ended.stdout
    assert not processes_of(command.clusters)
    assert command("status").returncode == 1
    assert "was not up" in command("down").stdout


@pytest.mark.long
def test_down_cleans_up_after_a_crash(command: Command) -> None:
    try:
        assert command("up", "--name", "crashing").returncode == 0
        holder = int((command.clusters / "crashing" / "holder").read_text())
        os.kill(holder, signal.SIGKILL)
        assert becomes(lambda: not processes_of(command.clusters))
    finally:
        ended = command("down", "--name", "crashing")
    assert "was not up" in ended.stdout
    assert not (command.clusters / "crashing").exists()


def test_error_names_why_the_sandbox_did_not_start(command: Command) -> None:
    command._environment["KUBEBUILDER_ASSETS"] = "/no/such/directory"
    refused = command("up")
    assert refused.returncode == 1
    assert refused.stderr == "KUBEBUILDER_ASSETS is /no/such/directory, which is no directory\n"
