"""Builds a program once and keeps it in the cache; most are Go's."""

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

    `package` is what to build, in the module's eyes. `release_of` is the required module whose
    version is the program's; a program of our own has none. `stamp` is the variable the linker
    writes that version to.
    """

    name: str
    module: Path
    package: str
    release_of: str = ""
    stamp: str = ""

    @property
    def version(self) -> str:
        """The version `go.mod` pins, "local" for a program of our own."""
        if not self.release_of:
            return "local"
        go_mod = (self.module / "go.mod").read_text()
        # A requirement, and not the `tool` line, which has no version, nor a `replace`.
        pinned = re.search(rf"^\s*{re.escape(self.release_of)} (v\S+)", go_mod, re.MULTILINE)
        if not pinned:
            raise SandboxError(f"{self.module / 'go.mod'} requires no {self.release_of}")
        return pinned[1]

    def cached(self) -> Path:
        """Return where the program is, or will be once it is built.

        The key covers all that goes into it except the Go version: every file of the module, the
        command, and the machine's kind, for a home directory that several machines share.
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
        return "build", *flags, self.package


def build(program: GoProgram) -> Path:
    """Return the program from the cache, building it first if need be.

    Processes that ask at once wait for the one that builds. Raises `BuildError` with the end of
    the compiler's output.
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
    """Return a file of the cache, made first if it is not there.

    `make` makes it below its tether's directory, which goes with all else that is in it.
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
            built.rename(target)  # atomic: whoever sees it sees all of it
    return target
