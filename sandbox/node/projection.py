"""Volumes of a pod as files, updated in the way of the kubelet.

A reader never sees a partial update: the files are links through `..data`, a link that is replaced
atomically.
"""

import base64
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sandbox.node.podspec import NotYetError

Manifest = Mapping[str, Any]
Payload = Mapping[str, bytes]


class Directory:
    """A directory whose files change all at once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._written: Payload | None = None
        path.mkdir(parents=True, exist_ok=True)

    def write(self, payload: Payload) -> bool:
        """Replace the files by `payload`; return whether anything changed."""
        if payload == self._written:
            return False
        fresh = Path(tempfile.mkdtemp(prefix="..", dir=self._path))
        fresh.chmod(0o755)
        for name, content in payload.items():
            file = fresh / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        data = self._path / "..data"
        before = data.readlink() if data.is_symlink() else None
        draft = self._path / "..data_tmp"
        draft.symlink_to(fresh.name)
        draft.replace(data)
        self._link({Path(name).parts[0] for name in payload})
        if before:
            shutil.rmtree(self._path / before)
        self._written = dict(payload)
        return True

    def _link(self, names: set[str]) -> None:
        there = {each.name for each in self._path.iterdir() if not each.name.startswith("..")}
        for name in names - there:
            (self._path / name).symlink_to(Path("..data", name))
        for name in there - names:
            (self._path / name).unlink()


class Sources:
    """The Secrets and ConfigMaps of the cluster, by kind, namespace and name."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str, str], Payload] = {}

    def keep(self, kind: str, manifest: Manifest) -> None:
        """Store the current state of an object."""
        self._found[_key(kind, manifest)] = _content(kind, manifest)

    def forget(self, kind: str, manifest: Manifest) -> None:
        """Remove a deleted object."""
        self._found.pop(_key(kind, manifest), None)

    def payload(self, kind: str, namespace: str, name: str, source: Manifest) -> Payload:
        """Return an object's part of a volume: all keys, or those of `items`.

        Raises `NotYetError` if the object, or a key, is missing and not optional.
        """
        content = self._found.get((kind, namespace, name))
        optional = bool(source.get("optional"))
        if content is None:
            if optional:
                return {}
            raise NotYetError(f'{kind} "{namespace}/{name}" not found')
        items = source.get("items")
        if not items:
            return content
        chosen = {}
        for item in items:
            if item["key"] in content:
                chosen[item["path"]] = content[item["key"]]
            elif not optional:
                raise NotYetError(f'{kind} "{namespace}/{name}" has no key {item["key"]}')
        return chosen


def _key(kind: str, manifest: Manifest) -> tuple[str, str, str]:
    return kind, manifest["metadata"]["namespace"], manifest["metadata"]["name"]


def _content(kind: str, manifest: Manifest) -> Payload:
    data = manifest.get("data") or {}
    if kind == "secret":
        return {key: base64.b64decode(value) for key, value in data.items()}
    binary = manifest.get("binaryData") or {}
    return {key: value.encode() for key, value in data.items()} | {
        key: base64.b64decode(value) for key, value in binary.items()
    }
