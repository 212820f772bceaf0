"""Reads backups: the output of `troth backup`, or of `kubectl get -o json` or `-o yaml`."""

import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import yaml

from troth.cli.backup.portable import Manifest, Place, is_restorable, place_of, portable
from troth.cli.inputs.files import STDIN
from troth.resources.faults import FaultyManifests, ManifestFault
from troth.resources.manifests import ManifestLoader

FORM = "is not a backup; name the output of `troth backup`, or of `kubectl get -o json`"


def read(paths: Iterable[Path]) -> list[Manifest]:
    """Return the objects in files, as a backup has them, each once; the first file wins.

    Raises `FaultyManifests` if a file is no list of objects, or has others than Troth's. No message
    quotes a file, because it contains private keys.
    """
    found: dict[Place, Manifest] = {}
    faults = []
    for path in paths:
        name = "<stdin>" if path == STDIN else str(path)
        data = sys.stdin.buffer.read() if path == STDIN else path.read_bytes()
        try:
            items = list(_items(data))
        except (ValueError, TypeError, yaml.YAMLError, RecursionError):
            faults.append(ManifestFault(name, "", "", FORM))
            continue
        for each in items:
            kind, ref = place_of(each)
            if is_restorable(each):
                found.setdefault((kind, ref), portable(each))
                continue
            sentence = "Troth did not write it; restore it with your own backup"
            faults.append(ManifestFault(name, f"{kind} {ref}", "", sentence))
    if faults:
        raise FaultyManifests(faults)
    return list(found.values())


def _items(data: bytes) -> Iterator[Manifest]:
    """Yield the objects of a list, or of several; raises `ValueError` or a `YAMLError`."""
    text = data.decode()
    try:
        documents = [json.loads(text)]
    except ValueError:
        # ManifestLoader is a safe loader
        documents = [each for each in yaml.load_all(text, ManifestLoader) if each is not None]
    if not documents:
        raise ValueError
    for document in documents:
        items = document.get("items", [document]) if isinstance(document, dict) else [document]
        for each in items:
            if not _has_form(each):
                raise ValueError
            yield each


def _has_form(item: object) -> bool:
    """Return whether an item is an object of which kind and metadata have the right types."""
    if not isinstance(item, dict) or not isinstance(item.get("kind"), str):
        return False
    metadata = item.get("metadata")
    if not isinstance(metadata, dict) or not isinstance(metadata.get("name"), str):
        return False
    types = {"namespace": str, "labels": dict, "annotations": dict}
    types |= {"ownerReferences": list, "managedFields": list}
    return all(isinstance(metadata.get(name) or kind(), kind) for name, kind in types.items())
