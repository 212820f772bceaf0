"""How `make demo` and its command choose the cluster."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox.demo import setting
from sandbox.node.tiers import Tier
from tests.sandbox.observing import REPOSITORY, executable


def make(*arguments: str, **environment: str) -> str:
    return subprocess.check_output(
        ["make", "--dry-run", "--assume-old=.venv/.ready", "demo", *arguments],
        cwd=REPOSITORY,
        env=os.environ | environment,
        text=True,
    )


def demo(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sandbox.demo", *arguments],
        cwd=REPOSITORY,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_make_uses_the_cluster_that_its_command_line_names() -> None:
    assert '--kubeconfig "kind.yaml" calls' in make("KUBECONFIG=kind.yaml", "ACTS=calls")


def test_make_does_not_use_the_cluster_of_kubectl() -> None:
    assert "kubeconfig" not in make(KUBECONFIG="/home/somebody/.kube/config")


def test_other_cluster_is_not_kept() -> None:
    done = demo("--kubeconfig=x", KEEP="1")
    assert done.returncode == 2
    assert "KEEP=1 keeps a cluster of the demo's own; unset it" in done.stdout


def test_act_that_needs_a_node_is_rejected_on_another_cluster() -> None:
    done = demo("--kubeconfig=x", "rotation", KEEP="")
    assert done.returncode == 2
    assert "The act rotation needs a node" in done.stdout


def test_kubeconfig_and_tier_exclude_each_other() -> None:
    assert "not allowed with" in demo("--kubeconfig=x", "--tier=node").stderr


def assets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *programs: str) -> None:
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path))
    for program in programs:
        executable(tmp_path / program)


def test_envtest_is_used_without_a_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assets(tmp_path, monkeypatch, "etcd", "kube-apiserver", "kubectl")
    tier, words = setting.best()
    assert (setting.has_envtest(), tier) == (True, Tier.CONTROL_PLANE)
    assert "so nothing is built" in words


def test_assets_with_controllers_or_without_api_server_are_not_envtest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assets(tmp_path, monkeypatch, "kubectl", "etcd")
    assert not setting.has_envtest()
    assets(tmp_path, monkeypatch, "kube-apiserver", "kube-controller-manager")
    assert not setting.has_envtest()


def test_envtest_cannot_be_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assets(tmp_path, monkeypatch, "etcd", "kube-apiserver")
    done = demo(KEEP="1")
    assert done.returncode == 2
    assert "unset one of the two" in done.stdout
