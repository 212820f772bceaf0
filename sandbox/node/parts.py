"""The programs of a node that the distribution provides, from its packages, unpacked.

The packages are fetched and unpacked into the cache but never installed: no file of the machine
changes and no service starts. Programs that the machine has installed are used directly.
"""

import os
import platform
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sandbox.cache import cache_directory, locked
from sandbox.errors import BuildError, SandboxError
from sandbox.processes import Tether
from sandbox.running import run


@dataclass(frozen=True, slots=True)
class Packages:
    """Packages that are fetched together, and the programs that they provide."""

    name: str
    packages: tuple[str, ...]
    programs: tuple[str, ...]


FIREWALL = Packages("firewall", ("iptables", "ipset"), ("xtables-nft-multi", "ipset"))
CONTAINERS = Packages(
    "containers",
    ("containerd", "runc", "containernetworking-plugins"),
    ("containerd", "containerd-shim-runc-v2", "ctr", "runc"),
)


def unpacked(wanted: Packages) -> Path:
    """Return the root of the unpacked packages; fetch them first if necessary.

    The root is empty if the machine has all programs installed. Raises `SandboxError` with what to
    install if the packages cannot be fetched.
    """
    target = cache_directory() / "packages" / f"{wanted.name}-{_release()}-{platform.machine()}"
    if target.exists():
        return target
    title = f"{', '.join(wanted.packages)}"
    with locked(target, meanwhile=f"waiting for another process that fetches {title}"):
        if not target.exists():
            _fetch(wanted, target, title)
    return target


def missing(wanted: Packages) -> str | None:
    """Return the reason why the packages are unavailable, as a sentence; `None` if available."""
    absent = [name for name in wanted.programs if not _installed(name)]
    if not absent or shutil.which("apt-get"):
        return None
    return f"there is no {', '.join(absent)}, and no apt-get to fetch it with"


def environment(*roots: Path) -> Mapping[str, str]:
    """Return the environment in which the programs of unpacked packages find each other."""
    variables = dict(os.environ)
    programs = [root / "usr" / each for root in roots for each in ("sbin", "bin")]
    libraries = [each for root in roots for each in (root / "usr/lib").glob("*-linux-gnu*")]
    variables["PATH"] = ":".join([*map(str, programs), variables.get("PATH", ""), *SYSTEM_PROGRAMS])
    if libraries:
        variables["LD_LIBRARY_PATH"] = ":".join(map(str, libraries))
    for library in libraries:
        if (library / "xtables").exists():
            variables["XTABLES_LIBDIR"] = str(library / "xtables")
    return variables


def found(path: str, roots: Sequence[Path]) -> Path:
    """Return the location of a path: in unpacked packages, or installed on this machine."""
    for root in (*roots, Path("/")):
        if (root / path).exists():
            return root / path
    raise SandboxError(f"the packages of this machine have no {path}")


SYSTEM_PROGRAMS = ("/usr/sbin", "/sbin")  # not on the PATH of every shell


def _installed(program: str) -> bool:
    path = ":".join([os.environ.get("PATH", ""), *SYSTEM_PROGRAMS])
    return shutil.which(program, path=path) is not None


def _release() -> str:
    release = platform.freedesktop_os_release()
    return f"{release['ID']}-{release.get('VERSION_ID', 'rolling')}"


def _fetch(wanted: Packages, target: Path, title: str) -> None:
    if reason := missing(wanted):
        raise SandboxError(reason)
    directory = Path(tempfile.mkdtemp(dir=target.parent, prefix="fetching-"))
    with Tether(directory) as tether:
        # apt knows the installed packages and fetches the missing ones with their dependencies. It
        # uses the machine's package lists; if these are missing or old, it fetches lists of its
        # own.
        try:
            _download(tether, wanted, title, fresh_lists=False)
        except BuildError:
            _download(tether, wanted, title, fresh_lists=True)
        root = directory / "root"
        root.mkdir()
        packages = sorted(directory.glob("archives/*.deb"))
        extract = 'root=$1; shift; for each; do dpkg-deb --extract "$each" "$root" || exit; done'
        run(tether, ["sh", "-c", extract, "sh", root, *packages], doing="unpacking", what=title)
        root.rename(target)


def _download(tether: Tether, wanted: Packages, title: str, *, fresh_lists: bool) -> None:
    directory = tether.directory
    (directory / "archives" / "partial").mkdir(parents=True, exist_ok=True)
    options = [
        *("-o", f"Dir::Cache::Archives={directory / 'archives'}"),
        *("-o", f"Dir::Cache::pkgcache={directory / 'pkgcache'}"),
        *("-o", f"Dir::Cache::srcpkgcache={directory / 'srcpkgcache'}"),
        *("-o", "Debug::NoLocking=1", "-o", "APT::Sandbox::User=root"),
    ]
    if fresh_lists:
        (directory / "lists" / "partial").mkdir(parents=True, exist_ok=True)
        options += ["-o", f"Dir::State::Lists={directory / 'lists'}"]
        run(tether, ["apt-get", *options, "update"], doing="fetching", what="package lists")
    install = ["install", "--download-only", "--no-install-recommends", "--yes"]
    run(tether, ["apt-get", *options, *install, *wanted.packages], doing="fetching", what=title)
