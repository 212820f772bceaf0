"""Runs buildah and mmdebstrap from packages that are unpacked but not installed."""

import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from sandbox.node.parts import Packages, environment, missing, unpacked
from sandbox.processes import Tether
from sandbox.running import run

PACKAGES = Packages("image", ("buildah", "mmdebstrap"), ("buildah", "mmdebstrap"))

# Namespaces for mounts and processes of the build, which the kernel ends with it.
NAMESPACES = ("--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
# buildah starts itself in a chroot without LD_LIBRARY_PATH, so the linker cache must list its
# libraries.
WITH_LIBRARIES = 'mount --bind "$1" /etc/ld.so.cache && shift && exec "$@"'

# Files that buildah writes outside its store, regardless of its options.
TRACES = (
    Path("/etc/cni/net.d/cni.lock"),
    Path("/var/lib/containers/cache/blob-info-cache-v1.boltdb"),
)


def unavailable() -> str | None:
    """Return the reason why this machine cannot build images, as a sentence; `None` if it can.

    The check builds and fetches nothing.
    """
    if sys.platform != "linux":
        return f"an image is built on Linux, and this is {sys.platform}"
    if os.geteuid():
        return "an image is built by root, for its mounts; run it as root"
    if (distribution := _release().get("ID", "unknown")) != "debian":
        return f"an image's base is made of Debian's packages, and this is {distribution}"
    if reason := missing(PACKAGES):
        return f"an image needs packages that cannot be fetched: {reason}"
    return None


def suite() -> str:
    """Return the name of this machine's Debian release."""
    return _release()["VERSION_CODENAME"]


@contextmanager
def without_traces() -> Iterator[None]:
    """Remove what buildah writes outside its store in directories that did not exist before."""
    new = [path for path in TRACES if not path.parent.exists()]
    try:
        yield
    finally:
        for path in new:
            path.unlink(missing_ok=True)
            with suppress(OSError):  # stops at the first directory with other files
                for directory in path.parents:
                    directory.rmdir()


@dataclass(frozen=True, slots=True)
class Builder:
    """Runs commands that build an image; their files are in the tether's directory."""

    tether: Tether
    root: Path
    libraries: Path

    @classmethod
    @contextmanager
    def within(cls, tether: Tether) -> Iterator[Self]:
        """Fetch the packages if necessary; remove buildah's files outside its store at the end."""
        root = unpacked(PACKAGES)
        libraries = tether.directory / "ld.so.cache"
        directories = [*root.glob("lib/*-linux-gnu*"), *root.glob("usr/lib/*-linux-gnu*")]
        ldconfig: list[str | Path] = ["ldconfig", "-X", "-C", libraries, *directories]
        subprocess.run(ldconfig, check=True, capture_output=True, env=environment(root))
        with without_traces():
            yield cls(tether, root, libraries)

    def run(self, argv: Sequence[str | Path], *, doing: str, what: str) -> None:
        """Run a command to its end; raises `BuildError` with the end of its output."""
        within = ["unshare", *NAMESPACES, "sh", "-c", WITH_LIBRARIES, "sh", str(self.libraries)]
        variables = {**os.environ, "PATH": environment(self.root)["PATH"]}
        if modules := self._perl_modules():
            variables["PERL5LIB"] = ":".join(modules)
        run(self.tether, [*within, *argv], doing=doing, what=what, env=variables)

    def buildah(self, *arguments: str | Path, doing: str, what: str) -> None:
        """Run buildah with a store in the tether's directory."""
        store = self.tether.directory / "store"
        command = ["buildah", "--storage-driver", "overlay"]
        command += ["--root", str(store / "root"), "--runroot", str(store / "run")]
        self.run([*command, *arguments], doing=doing, what=what)

    @property
    def signature_policy(self) -> tuple[str | Path, ...]:
        """Options that name the packages' signature policy; empty if buildah is installed."""
        policy = self.root / "etc" / "containers" / "policy.json"
        return ("--signature-policy", policy) if policy.exists() else ()

    def _perl_modules(self) -> list[str]:
        places = ("share/perl5", "share/perl/5.*", "lib/*/perl5/5.*", "lib/*/perl/5.*")
        return [str(each) for place in places for each in sorted(self.root.glob(f"usr/{place}"))]


def _release() -> dict[str, str]:
    return platform.freedesktop_os_release()
