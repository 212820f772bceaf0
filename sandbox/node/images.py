"""The images of the sandbox's pods, without a registry.

An image is one layer with static programs on an empty root. For containerd it is an archive in the
format of `docker save`; for process pods its files are linked into a directory.
"""

import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True, slots=True)
class Image:
    """Programs by their path in the image, and the default command."""

    name: str
    programs: Mapping[str, Path]
    command: Sequence[str] = field(default_factory=tuple)

    def write_archive(self, path: Path) -> None:
        """Write the image as an archive for `ctr images import`."""
        layer = self._layer()
        digest = hashlib.sha256(layer).hexdigest()
        config = json.dumps(
            {
                "architecture": ARCHITECTURES.get(platform.machine(), platform.machine()),
                "os": "linux",
                "config": {"Entrypoint": list(self.command)},
                "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
            }
        ).encode()
        config_name = f"{hashlib.sha256(config).hexdigest()}.json"
        layer_name = f"{digest}/layer.tar"
        manifest = [{"Config": config_name, "RepoTags": [self.name], "Layers": [layer_name]}]
        with tarfile.open(path, "w") as archive:
            _add(archive, config_name, config)
            _add(archive, layer_name, layer)
            _add(archive, "manifest.json", json.dumps(manifest).encode())

    def link_into(self, root: Path) -> None:
        """Hard-link the image's files into a directory of the same file system."""
        for name, program in self.programs.items():
            target = root / name.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.hardlink_to(program)

    def _layer(self) -> bytes:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            for name, program in self.programs.items():
                _add(archive, name.lstrip("/"), program.read_bytes(), mode=0o755)
        return buffer.getvalue()


def _add(archive: tarfile.TarFile, name: str, content: bytes, *, mode: int = 0o644) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), mode
    archive.addfile(entry, io.BytesIO(content))
