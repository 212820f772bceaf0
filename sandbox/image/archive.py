"""The operator's image, built from this checkout, as an archive."""

import hashlib
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from sandbox.building import build_once
from sandbox.cache import cache_directory
from sandbox.errors import BuildError, SandboxError
from sandbox.image import base
from sandbox.image.builder import Builder, unavailable
from sandbox.processes import Tether

REPOSITORY = Path(__file__).parent.parent.parent
NAME = "localhost/troth:local"
TITLE = "the operator's image"
BASE_NAME = "localhost/troth-base:local"
KEPT = 3
"""Number of archives that stay in the cache: each is about 400 MB."""

# The build sees only these files, so the archive's key covers all inputs of the image.
INPUTS = (
    *("Dockerfile", ".dockerignore", "pyproject.toml", "constraints.txt", "LICENSE"),
    "operator",
)
AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")
PIP_SETTINGS = ("index-url", "extra-index-url", "trusted-host", "proxy")


def ensure() -> Path:
    """Return the archive of the image, as `docker save` writes it; build it first if necessary.

    Raises `SandboxError` with the reason if this machine cannot build it.
    """
    if reason := unavailable():
        raise SandboxError(reason)
    key = key_of(REPOSITORY)
    files = base.ensure()
    target = cache_directory() / "images" / f"operator-{key}" / "image.tar"
    archive = build_once(target, TITLE, lambda tether: _built(tether, files, key))
    prune(archive)
    return archive


def _built(tether: Tether, files: Path, key: str) -> Path:
    base_context, context = tether.directory / "base", tether.directory / "context"
    base_context.mkdir()
    (base_context / "Dockerfile").write_text(base.DOCKERFILE)
    (base_context / "rootfs.tar").hardlink_to(files)
    for file in _inputs(REPOSITORY):
        copy = context / file
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(REPOSITORY / file, copy)
    if key_of(context) != key:
        raise BuildError(TITLE, "the sources changed while they were copied; build it again")
    archive = tether.directory / "image.tar"
    with Builder.within(tether) as builder:
        bud = ("bud", "--quiet", *builder.signature_policy, "--isolation", "chroot")
        bud += ("--layers=false", "--pull-never")
        builder.buildah(*bud, "--tag", BASE_NAME, base_context, doing="building", what=base.title())
        builder.buildah(
            *(*bud, "--build-arg", f"BASE={BASE_NAME}", *_index(tether.directory / "pip.conf")),
            *("--tag", NAME, context),
            doing="building",
            what=TITLE,
        )
        builder.buildah(
            *("push", "--quiet", *builder.signature_policy),
            *(NAME, f"docker-archive:{archive}:{NAME}"),
            doing="writing",
            what=TITLE,
        )
    return archive


def _index(path: Path) -> Iterator[str]:
    """Yield options that give the build this machine's package index for pip, and its CAs."""
    argv = [sys.executable, "-m", "pip", "config", "list"]
    listed = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    lines = re.findall(r"^(?:install|global|:env:)\.([a-z-]+)='(.*)'$", listed, re.MULTILINE)
    found = dict(reversed(lines))  # variables precede files in the list and take precedence
    settings = {name: found[name] for name in PIP_SETTINGS if name in found}
    authorities = Path(found.get("cert", AUTHORITIES))
    if authorities.exists():
        settings["cert"] = str(AUTHORITIES)
        yield from ("--volume", f"{authorities}:{AUTHORITIES}:ro")
    path.touch(mode=0o600)  # an index URL may contain a password
    path.write_text("[global]\n" + "".join(f"{k} = {v}\n" for k, v in settings.items()))
    yield from ("--volume", f"{path}:/etc/pip.conf:ro")


def key_of(root: Path) -> str:
    """Return the cache key of the image of a checkout, base image included."""
    key = hashlib.sha256(str(base.cached()).encode())
    for file in _inputs(root):
        key.update(f"{file}\0".encode())
        key.update(hashlib.sha256((root / file).read_bytes()).digest())
    return key.hexdigest()[:12]


def _inputs(root: Path) -> Iterator[Path]:
    """Yield the files of a checkout that the build sees, in a fixed order."""
    for name in INPUTS:
        path = root / name
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            relative = file.relative_to(root)
            generated = any(
                part == "__pycache__" or part.endswith(".egg-info") for part in relative.parts
            )
            if file.is_file() and not generated:
                yield relative


def prune(archive: Path) -> None:
    """Remove all but the newest archives of the image."""
    archive.touch()
    archives = archive.parent.parent.glob("operator-*/image.tar")
    for old in sorted(archives, key=lambda each: each.stat().st_mtime)[:-KEPT]:
        shutil.rmtree(old.parent, ignore_errors=True)
