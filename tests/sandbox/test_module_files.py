"""Files of Go modules come out of them once, and only if their digest is the pinned one."""

from dataclasses import replace
from pathlib import Path
from shutil import copytree

import pytest
import yaml

from sandbox import BuildError, SandboxError
from sandbox.module_files import ModuleFile, take
from sandbox.tools import MODULE_FILES

CRDS = MODULE_FILES["wgpolicy-crds.yaml"]


def test_files_of_a_module_follow_one_another(cache: Path) -> None:
    taken = take(CRDS)
    assert taken.is_relative_to(cache)
    names = [each["metadata"]["name"] for each in yaml.safe_load_all(taken.read_text())]
    assert names == ["policyreports.wgpolicyk8s.io", "clusterpolicyreports.wgpolicyk8s.io"]


def test_file_is_taken_once(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert take(CRDS) == take(CRDS)
    assert capsys.readouterr().err.count("done in") == 1


def _with_other_sums(tmp_path: Path, file: ModuleFile, old: str, new: str) -> ModuleFile:
    module = copytree(file.module, tmp_path / "module")
    sums = (module / "go.sum").read_text()
    assert old in sums
    (module / "go.sum").write_text(sums.replace(old, new))
    return replace(file, module=module)


@pytest.mark.usefixtures("cache")
def test_module_with_another_digest_is_refused(tmp_path: Path) -> None:
    changed = _with_other_sums(tmp_path, CRDS, "h1:tbASfGvb", "h1:tbASfGva")
    with pytest.raises(BuildError, match="checksum mismatch"):
        take(changed)
    assert not changed.cached().exists()


@pytest.mark.usefixtures("cache")
def test_module_that_is_not_required_is_named() -> None:
    other = replace(CRDS, release_of="example.test/other")
    with pytest.raises(SandboxError, match=r"go\.mod requires no example\.test/other"):
        take(other)


@pytest.mark.parametrize("name", MODULE_FILES)
def test_version_is_the_one_that_the_module_pins(name: str) -> None:
    assert MODULE_FILES[name].cached().parent.name.startswith(f"{name}-v")
