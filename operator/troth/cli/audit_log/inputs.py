"""Reads lines, bundles and the head for `troth audit-log verify` from files."""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

import yaml

from troth.cli.inputs.single import fault, read_file
from troth.documents.event_bundles import FILE as EVENTS_BUNDLE_MAP
from troth.pki.bundles.spiffe_bundle import SPIFFEBundle, parse_bundle_map
from troth.pki.errors import PKIError
from troth.review.trail.head import Head, HeadError, parse

BUNDLE_MAP = "bundle-map.json"
_LONGEST = 1024 * 1024
"""Maximum length of a line in bytes. The rest is read as another line."""
_MOST_BUNDLES = 16 * 1024 * 1024
_MOST_HEAD = 4 * 1024 * 1024


def check(files: Iterable[str]) -> None:
    """Raise `FaultyManifests` if a file does not exist, before anything is read."""
    for name in files:
        if name not in ("", "-") and not Path(name).exists():
            raise fault(name, "No such file or directory")


def lines(files: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield each line with its place, `<file>:<line>`; raises `FaultyManifests`."""
    for name in files:
        if name in ("", "-"):
            yield from _lines(sys.stdin.buffer, "stdin")
            continue
        try:
            with Path(name).open("rb") as file:
                yield from _lines(file, name)
        except (OSError, ValueError) as error:
            raise fault(name, getattr(error, "strerror", None) or "cannot be read") from None


def _lines(file: IO[bytes], name: str) -> Iterator[tuple[str, str]]:
    number = 0
    while line := file.readline(_LONGEST):
        number += 1
        yield line.decode(errors="surrogateescape"), f"{name}:{number}"


def bundles(path: Path) -> dict[str, SPIFFEBundle]:
    """Return the bundles of a bundle map, or of the one in a folder; raises `FaultyManifests`.

    In a folder, that for events is preferred, because it has retired roots.
    """
    if path.is_dir():
        names = (EVENTS_BUNDLE_MAP, BUNDLE_MAP)
        path = next((path / each for each in names if (path / each).exists()), path / names[0])
    try:
        return parse_bundle_map(read_file(path, _MOST_BUNDLES))
    except PKIError as error:
        raise fault(str(path), str(error)) from None


def head(path: Path) -> Head:
    """Return the head in the manifest of a ConfigMap, YAML or JSON; raises `FaultyManifests`."""
    try:
        manifest = yaml.safe_load(read_file(path, _MOST_HEAD))
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError):
        raise fault(str(path), "neither YAML nor JSON") from None
    if not isinstance(manifest, dict) or not isinstance(manifest.get("data"), dict):
        raise fault(str(path), "not a ConfigMap with data")
    try:
        return parse(manifest)
    except HeadError as error:
        raise fault(str(path), str(error)) from None
