"""Each program comes from the first source that has it."""

import re
from pathlib import Path

import pytest

from sandbox import SandboxError, ensure, tools
from sandbox.building import GoProgram
from sandbox.node.tiers import Tier, unavailable
from sandbox.tools import PROGRAMS
from tests.sandbox.observing import executable


def test_kubebuilder_assets_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path))
    mine = {name: executable(tmp_path / name) for name in ("etcd", "kubectl")}
    assert {name: ensure(name) for name in mine} == mine


def test_programs_missing_from_kubebuilder_assets_are_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Archives of envtest lack programs too.
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path))
    monkeypatch.setattr(tools, "build", lambda program: Path("built") / program.name)
    assert ensure("kube-controller-manager") == Path("built/kube-controller-manager")


def test_missing_kubebuilder_assets_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBEBUILDER_ASSETS", "/no/such/directory")
    with pytest.raises(SandboxError, match="KUBEBUILDER_ASSETS is /no/such/directory"):
        ensure("etcd")


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
def test_version_is_the_one_that_the_module_pins(program: GoProgram) -> None:
    assert re.fullmatch(r"v\d+\.\d+\.\d+|local", program.version)


def test_other_release_of_kubernetes_is_built_from_its_own_module(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
    monkeypatch.setenv("KUBERNETES", "1.31")
    monkeypatch.setattr(tools, "build", lambda program: Path(program.module.name, program.version))
    assert ensure("kube-apiserver").match("kubernetes-1.31/v1.31.*")
    assert ensure("kube-controller-manager").match("kubernetes-1.31/v1.31.*")
    assert ensure("etcd") == Path("etcd", PROGRAMS["etcd"].version)


def test_unknown_release_of_kubernetes_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
    monkeypatch.setenv("KUBERNETES", "1.2")
    with pytest.raises(SandboxError, match=r"KUBERNETES is 1\.2, .* one of 1\.31$"):
        ensure("kube-apiserver")


def test_other_release_of_kubernetes_has_no_node(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES", "1.31")
    assert "KUBERNETES is 1.31" in str(unavailable(Tier.NODE))
    assert unavailable(Tier.CONTROL_PLANE) is None
