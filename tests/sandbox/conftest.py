import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox import Sandbox, ensure, toolchain
from sandbox.tools import CLUSTER


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox.start() as started:
        yield started


@pytest.fixture
def assets(tmp_path: Path) -> Path:
    """A directory as KUBEBUILDER_ASSETS names it, with every program in it."""
    directory = tmp_path / "assets"
    directory.mkdir()
    for program in CLUSTER:
        (directory / program).symlink_to(ensure(program))
    return directory


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the test's own; only Go's is shared, for speed."""
    ask = [str(toolchain.go()), "env", "GOCACHE"]
    compiled = subprocess.run(ask, capture_output=True, text=True, check=True).stdout.strip()
    monkeypatch.setenv("GOCACHE", compiled)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "troth-sandbox"
