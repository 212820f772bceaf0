"""Reads the text of manifest files, folders and standard input.

A user who may propose a change to a repository chooses the content of its folders, links and
special files included.
"""

import os
import stat
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from troth.resources.faults import ManifestFault

STDIN = Path("-")
MAX_BYTES = 32 * 1024 * 1024
"""Maximum size in bytes of all files of one input."""
_SUFFIXES = (".yaml", ".yml", ".json")
_NOT_OBJECTS = frozenset({"kustomization.yaml", "kustomization.yml"})
"""Files that Kustomize reads and nobody applies."""


def read_files(paths: Iterable[Path]) -> Iterator[tuple[str, str | ManifestFault]]:
    """Yield the name and the text of each file, or the fault because of which it has none.

    `-` is standard input. A folder is read recursively: its YAML and JSON files, without hidden
    files and folders. A file that is named twice is read once. Only regular files are read, and no
    link that leads out of a named folder, or out of the working folder for paths below it. The file
    that exceeds `MAX_BYTES` is the last.
    """
    left = MAX_BYTES
    for name, file in _inputs(paths):
        if isinstance(file, ManifestFault):
            yield name, file
            continue
        try:
            raw = _content(file, left + 1)
        except (OSError, ValueError) as error:
            yield name, _unreadable(name, error)
            continue
        left -= len(raw)
        if left < 0:
            size = f"{MAX_BYTES // 1024**2} MiB"
            sentence = (
                f"makes the input larger than {size}, with the files before it; name fewer files"
            )
            yield name, ManifestFault(name, "", "", sentence, code="NotReadable")
            return
        yield name, _decoded(raw, name)


def _inputs(paths: Iterable[Path]) -> Iterator[tuple[str, str | ManifestFault]]:
    """Yield the name of each file, and the path of its content or why it is not read."""
    seen: set[str] = set()
    for path in paths:
        if path == STDIN:
            if "-" not in seen:
                yield "<stdin>", "-"
            seen.add("-")
            continue
        try:
            boundary = _boundary(path)
            files = list(_files(path, boundary))
        except (OSError, ValueError) as error:
            yield str(path), _unreadable(str(path), error)
            continue
        if path.is_dir():
            boundary = os.path.realpath(path)
        for file in files:
            real = os.path.realpath(file)
            if real in seen:
                continue
            try:
                _check_within(real, boundary, "file")
            except ValueError as error:
                yield str(file), _unreadable(str(file), error)
            else:
                seen.add(real)
                yield str(file), real


def _boundary(path: Path) -> str:
    """Return the folder out of which no link of a named path may lead.

    It is the working folder for what is named below it, otherwise the folder that has the path.
    """
    named, working = os.path.abspath(path), os.getcwd()  # noqa: PTH100, PTH109 - links as named
    below = Path(named).is_relative_to(working)
    return os.path.realpath(working if below else os.path.dirname(named))  # noqa: PTH120


def _check_within(real: str, boundary: str, noun: str) -> None:
    if not Path(real).is_relative_to(boundary):
        raise ValueError(f"links to a {noun} outside {boundary}; name that {noun}, or copy it")


def _files(path: Path, boundary: str) -> Iterator[Path]:
    mode = path.stat().st_mode  # raises the error that says why it cannot be read
    if not stat.S_ISDIR(mode):
        _check_regular(mode)
        yield path
        return
    _check_within(os.path.realpath(path), boundary, "folder")
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


def _content(path: str, most: int) -> bytes:
    """Return at most `most` bytes of a regular file, or of standard input."""
    if path == "-":
        return sys.stdin.buffer.read(most)
    # without waiting for a process that writes to a named pipe
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:  # noqa: PTH123
        _check_regular(os.fstat(file.fileno()).st_mode)
        return file.read(most)


def _check_regular(mode: int) -> None:
    if not stat.S_ISREG(mode):
        raise ValueError(
            "not a regular file; write its content to a file, or to standard input with -f -"
        )


def _decoded(raw: bytes, source: str) -> str | ManifestFault:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        sentence = f"not UTF-8 text (byte 0x{raw[error.start]:02X}); save the file as UTF-8"
        return ManifestFault(source, "", "", sentence, code="NotText", line=line)


def _unreadable(path: str, error: Exception) -> ManifestFault:
    if isinstance(error, FileNotFoundError):
        sentence = "no such file or folder"
    elif isinstance(error, OSError):
        sentence = f"cannot be read: {(error.strerror or type(error).__name__).lower()}"
    else:
        sentence = str(error)
    name = path.encode("utf-8", "backslashreplace").decode()
    return ManifestFault(name, "", "", sentence, code="NotReadable")
