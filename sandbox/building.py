"""Builds programs, most of them Go, once and keeps them in the cache."""

import hashlib
import platform
import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sandbox.cache import cache_directory, locked
from sandbox.errors import SandboxError
from sandbox.processes import Tether
from sandbox.running import run
from sandbox.toolchain import go, go_environment


@dataclass(frozen=True, slots=True)
class GoProgram:
    """A program built from a Go module of this repository.

    `package` is the package to build, relative to the module. `release_of` is the required module
    whose version is the program's version; it is empty for a program of this repository. `stamp` is
    the variable to which the linker writes that version. `tags` are Go's build tags.
    """

    name: str
    module: Path
    package: str
    release_of: str = ""
    stamp: str = ""
    tags: str = ""

    @property
    def version(self) -> str:
        """Version that `go.mod` pins; "local" for a program of this repository."""
        if not self.release_of:
            return "local"
        return pinned(self.module, self.release_of)

    def cached(self) -> Path:
        """Return the path of the program in the cache, which may not exist yet.

        The key covers every input except the Go version: all files of the module, the command, and
        the platform, because several machines may share one home directory.
        """
        key = hashlib.sha256(
            repr((self._command(), platform.system(), platform.machine())).encode()
        )
        for file in sorted(self.module.rglob("*")):
            if file.is_file():
                key.update(f"{file.relative_to(self.module)}\0".encode())
                key.update(hashlib.sha256(file.read_bytes()).digest())
        folder = f"{self.name}-{self.version}-{key.hexdigest()[:12]}"
        return cache_directory() / "tools" / folder / self.name

    def _command(self) -> tuple[str, ...]:
        stamp = f" -X {self.stamp}={self.version}" if self.stamp else ""
        flags = ("-trimpath", "-mod=readonly", "-buildvcs=false", f"-ldflags=-s -w{stamp}")
        tags = (f"-tags={self.tags}",) if self.tags else ()
        return "build", *flags, *tags, self.package


def pinned(module: Path, required: str) -> str:
    """Return the version of a required module that a folder's `go.mod` pins.

    Raises `SandboxError` if it requires no such module.
    """
    go_mod = (module / "go.mod").read_text()
    # Match the requirement, not the `tool` line, which has no version, or a `replace`.
    found = re.search(rf"^(?:require)?\s*{re.escape(required)} (v\S+)", go_mod, re.MULTILINE)
    if not found:
        raise SandboxError(f"{module / 'go.mod'} requires no {required}")
    return found[1]


def build(program: GoProgram) -> Path:
    """Return the program from the cache; build it first if necessary.

    Concurrent processes wait for the one that builds. Raises `BuildError` with the end of the
    compiler's output.
    """
    if not (program.module / "go.mod").exists():
        raise SandboxError(
            f"{program.name} cannot be built: there is no {program.module / 'go.mod'}"
        )

    def compiled(tether: Tether) -> Path:
        built = tether.directory / program.name
        subcommand, *rest = program._command()  # noqa: SLF001
        run(
            tether,
            [go(), subcommand, "-o", built, *rest],
            doing="building",
            what=f"{program.name} {program.version}",
            cwd=program.module,
            env=go_environment(),
        )
        return built

    return build_once(program.cached(), f"{program.name} {program.version}", compiled)


def build_once(target: Path, title: str, make: Callable[[Tether], Path]) -> Path:
    """Return a file of the cache; make it first if it does not exist.

    `make` writes the file below its tether's directory, which is removed afterwards.
    """
    if target.exists():
        return target
    with locked(target.parent, meanwhile=f"waiting for another process that builds {title}"):
        if target.exists():
            return target
        directory = Path(tempfile.mkdtemp(dir=target.parent.parent, prefix="building-"))
        with Tether(directory) as tether:
            built = make(tether)
            target.parent.mkdir(exist_ok=True)
            built.rename(target)  # atomic: other processes never see an incomplete file
    return target
