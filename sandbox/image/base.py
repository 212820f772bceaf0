"""The substitute for the Dockerfile's base image: Debian's Python in a minimal Debian system."""

import hashlib
import platform
import subprocess
from pathlib import Path

from sandbox.building import build_once
from sandbox.cache import cache_directory
from sandbox.image.builder import Builder, suite
from sandbox.processes import Tether

# `python`, the command in the Dockerfile, with `venv` and the certificates of public authorities.
INCLUDED = ("python3", "python3-venv", "python-is-python3", "ca-certificates")
EXCLUDED = ("/usr/share/man/*", "/usr/share/doc/*", "/usr/share/locale/*")

# Settings of `python:3.13-slim`.
DOCKERFILE = """\
FROM scratch
ADD rootfs.tar /
ENV PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8
CMD ["python3"]
"""


def cached() -> Path:
    """Return the path of the base's files for this release and package list; it may not exist."""
    what = (suite(), platform.machine(), INCLUDED, EXCLUDED)
    key = hashlib.sha256(repr(what).encode()).hexdigest()[:12]
    return cache_directory() / "images" / f"base-{suite()}-{key}" / "rootfs.tar"


def ensure() -> Path:
    """Return the archive of the base's files; make it first if it does not exist."""
    return build_once(cached(), title(), _made)


def _made(tether: Tether) -> Path:
    archive = tether.directory / "rootfs.tar"
    with Builder.within(tether) as builder:
        builder.run(
            [
                *("mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(INCLUDED)}"),
                *(f"--dpkgopt=path-exclude={path}" for path in EXCLUDED),
                f"--aptopt={_apt_settings(tether.directory / 'apt.conf')}",
                *(suite(), str(archive), *_mirror()),
            ],
            doing="making",
            what=title(),
        )
    return archive


def title() -> str:
    """Return the name of the base in messages."""
    return f"the image's base of Debian {suite()}"


def _mirror() -> list[str]:
    """Return the mirror of this machine's Debian release, if apt has one configured."""
    form = "$(REPO_URI) $(CODENAME) $(COMPONENT)"
    argv = ["apt-get", "indextargets", "--format", form, "Created-By: Packages"]
    for line in subprocess.run(
        argv, capture_output=True, text=True, check=False
    ).stdout.splitlines():
        mirror, *rest = line.split()
        if rest == [suite(), "main"]:
            return [mirror]
    return []


def _apt_settings(path: Path) -> Path:
    """Write the apt settings of this machine, for example its proxy."""
    argv = ["apt-config", "dump", "Acquire"]
    path.write_text(subprocess.run(argv, capture_output=True, text=True, check=True).stdout)
    return path
