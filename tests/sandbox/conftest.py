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
    """Return a directory for KUBEBUILDER_ASSETS with every program."""
    directory = tmp_path / "assets"
    directory.mkdir()
    for program in CLUSTER:
        (directory / program).symlink_to(ensure(program))
    return directory


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty cache for the test; for speed, only Go's build cache is shared."""
    ask = [str(toolchain.go()), "env", "GOCACHE"]
    compiled = subprocess.run(ask, capture_output=True, text=True, check=True).stdout.strip()
    monkeypatch.setenv("GOCACHE", compiled)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "troth-sandbox"
