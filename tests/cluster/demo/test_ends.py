"""An interrupted demo cleans up, and what it cannot run it rejects."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from sandbox import Tier
from sandbox.demo.setting import Act
from tests.cluster.demo.running import demo, environment
from tests.sandbox.observing import REPOSITORY, becomes, processes_of


def test_ctrl_c_leaves_nothing_behind(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", FOREGROUND],
        cwd=REPOSITORY,
        env=environment(tmp_path),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    ) as running:
        assert running.stdout is not None
        for line in running.stdout:
            if "operator" in line:
                break
        assert any("troth.cli" in line for line in processes_of(tmp_path))
        os.killpg(running.pid, signal.SIGINT)
        assert "the cluster is removed" in running.stdout.read()
    assert running.returncode == 130
    assert becomes(lambda: not processes_of(tmp_path) and not list(tmp_path.iterdir()))


# a background job ignores Ctrl-C unless it asks for it
FOREGROUND = """
import runpy, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.argv = ["demo"]
runpy.run_module("sandbox.demo", run_name="__main__")
"""


def test_unknown_broker_is_rejected(tmp_path: Path) -> None:
    done = demo(env={**environment(tmp_path), "BROKER": "pigeons"})
    assert done.returncode == 2
    assert "BROKER is 'pigeons'; set it to nats or kafka" in done.stdout


def test_act_that_needs_a_node_is_rejected_without_one(tmp_path: Path) -> None:
    done = demo(f"--tier={Tier.CONTROL_PLANE}", Act.ROTATION, env=environment(tmp_path))
    assert done.returncode == 2
    assert "The act rotation needs a node" in done.stdout


def test_other_clusters_are_not_used(tmp_path: Path) -> None:
    done = demo(env={**environment(tmp_path), "TROTH_SANDBOX_KUBECONFIG": "/somebody/elses"})
    assert done.returncode == 2
    assert "unset TROTH_SANDBOX_KUBECONFIG" in done.stdout
