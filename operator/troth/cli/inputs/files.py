"""Reads the text of manifest files, folders and standard input."""

import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from troth.resources.faults import ManifestFault

STDIN = Path("-")
LIMIT = 64 * 1024 * 1024
"""Largest input in bytes."""
_SUFFIXES = (".yaml", ".yml", ".json")
_NOT_OBJECTS = frozenset({"kustomization.yaml", "kustomization.yml"})
"""Files that Kustomize reads and nobody applies."""


def read_files(paths: Iterable[Path]) -> Iterator[tuple[str, str | ManifestFault]]:
    """Yield the name and the text of each file, or the fault because of which it has none.

    `-` is standard input. A folder is read recursively: its YAML and JSON files, without hidden
    files and folders. A file that is named twice is read once.
    """
    seen: set[str] = set()
    for path in paths:
        if path == STDIN:
            if "-" not in seen:
                yield "<stdin>", _decoded(sys.stdin.buffer.read(LIMIT + 1), "<stdin>")
            seen.add("-")
            continue
        try:
            files = list(_files(path))
        except (OSError, ValueError) as error:
            yield str(path), _unreadable(path, error)
            continue
        for file in files:
            real = os.path.realpath(file)
            if real not in seen:
                seen.add(real)
                yield str(file), _read(file)


def _files(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        path.stat()  # raises the error that says why it cannot be read
        yield path
        return
    found = False
    for folder, folders, names in os.walk(path, onerror=_raise):
        folders[:] = sorted(each for each in folders if not each.startswith("."))
        for name in sorted(names):
            if name.startswith(".") or not name.endswith(_SUFFIXES) or name in _NOT_OBJECTS:
                continue
            found = True
            yield Path(folder, name)
    if not found:
        raise ValueError("no YAML or JSON file in this folder")


def _raise(error: OSError) -> None:
    raise error


def _read(file: Path) -> str | ManifestFault:
    try:
        with file.open("rb") as opened:
            return _decoded(opened.read(LIMIT + 1), str(file))
    except (OSError, ValueError) as error:
        return _unreadable(file, error)


def _decoded(raw: bytes, source: str) -> str | ManifestFault:
    if len(raw) > LIMIT:
        sentence = f"larger than {LIMIT // 1024**2} MiB; split it"
        return ManifestFault(source, "", "", sentence, code="NotReadable")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        sentence = f"not UTF-8 text (byte 0x{raw[error.start]:02X}); save the file as UTF-8"
        return ManifestFault(source, "", "", sentence, code="NotText", line=line)


def _unreadable(path: Path, error: Exception) -> ManifestFault:
    if isinstance(error, FileNotFoundError):
        sentence = "no such file or folder"
    elif isinstance(error, OSError):
        sentence = f"cannot be read: {(error.strerror or type(error).__name__).lower()}"
    else:
        sentence = str(error)
    name = str(path).encode("utf-8", "backslashreplace").decode()
    return ManifestFault(name, "", "", sentence, code="NotReadable")
