"""Takes files out of Go modules, such as CRDs and schemas, once, and keeps them in the cache."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from sandbox.building import build_once, pinned
from sandbox.cache import cache_directory
from sandbox.processes import Tether
from sandbox.running import run
from sandbox.toolchain import go, go_environment


@dataclass(frozen=True, slots=True)
class ModuleFile:
    """Files of a Go module, as one file.

    `module` is the folder whose `go.mod` pins the Go module `release_of`, and whose `go.sum` has
    its digest. `files` are paths in that module; their contents follow one another.
    """

    name: str
    module: Path
    release_of: str
    files: tuple[str, ...]

    def cached(self) -> Path:
        """Return the path of the file in the cache, which may not exist yet."""
        key = hashlib.sha256(repr((self.release_of, self.files)).encode())
        for name in ("go.mod", "go.sum"):
            key.update((self.module / name).read_bytes())
        version = pinned(self.module, self.release_of)
        return (
            cache_directory()
            / "tools"
            / f"{self.name}-{version}-{key.hexdigest()[:12]}"
            / self.name
        )


def take(file: ModuleFile) -> Path:
    """Return the file from the cache; download its module first if necessary.

    Raises `BuildError` if Go cannot download it, or if its digest differs from the one in `go.sum`.
    """

    def taken(tether: Tether) -> Path:
        run(
            tether,
            [go(), "mod", "download", "-json", file.release_of],
            doing="fetching",
            what=file.name,
            cwd=file.module,
            env=go_environment(),
        )
        output = (tether.directory / "output").read_text()
        folder = Path(json.loads(output[output.index("{") :])["Dir"])
        made = tether.directory / file.name
        made.write_bytes(b"".join((folder / each).read_bytes() for each in file.files))
        return made

    return build_once(file.cached(), file.name, taken)
