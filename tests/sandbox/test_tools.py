"""Each program comes from the first source that has it."""

import re
from pathlib import Path

import pytest

from sandbox import SandboxError, ensure, tools
from sandbox.building import GoProgram
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
