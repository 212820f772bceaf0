"""`python -m sandbox up --node` and `--process-pods`."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from sandbox import Sandbox, Tier
from sandbox.cache import cache_directory
from sandbox.detached import DetachedSandbox
from sandbox.node.manifests import workload_pod
from tests.sandbox.nodes import addresses, apply, skip_without
from tests.sandbox.observing import REPOSITORY, becomes, processes_of


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sandbox", *arguments],
        cwd=REPOSITORY,
        text=True,
        capture_output=True,
        check=False,
    )


@pytest.fixture
def detached() -> Iterator[DetachedSandbox]:
    """Yield a sandbox with a name of the test's own, in the cache that has the node's programs."""
    found = DetachedSandbox(f"node-test-{os.getpid()}")
    yield found
    command("down", "--name", found.name)


@pytest.mark.parametrize("tier", [Tier.PROCESS_PODS, Tier.NODE])
@pytest.mark.long
def test_detached_cluster_runs_pods(tier: Tier, detached: DetachedSandbox) -> None:
    skip_without(tier)
    up = command("up", "--name", detached.name, f"--{tier}")
    assert "The sandbox is up." in up.stdout, up.stderr
    with Sandbox.start(kubeconfig=detached.kubeconfig) as sandbox:  # as from another process
        apply(sandbox, workload_pod("default", "web", plain={"web": 8080}))
        addresses(sandbox, "default", ["web"])
        assert sandbox.node.workload("default/web").root.exists()
    assert "is down" in command("down", "--name", detached.name).stdout
    directory = cache_directory() / "clusters" / detached.name
    assert not processes_of(directory)
    assert not directory.exists()


@pytest.mark.long
def test_down_cleans_up_after_a_crash(detached: DetachedSandbox) -> None:
    skip_without(Tier.NODE)
    assert command("up", "--name", detached.name, "--node").returncode == 0
    directory = cache_directory() / "clusters" / detached.name
    os.kill(int((directory / "holder").read_text()), signal.SIGKILL)
    assert becomes(lambda: not processes_of(directory))
    assert "was not up" in command("down", "--name", detached.name).stdout
    assert not directory.exists()


def test_one_node_is_enough(detached: DetachedSandbox) -> None:
    refused = command("up", "--name", detached.name, "--node", "--process-pods")
    assert refused.returncode
    assert "either --node or --process-pods" in refused.stderr
