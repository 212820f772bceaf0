"""Reads backups: the output of `troth backup`, or of `kubectl get -o json` or `-o yaml`."""

import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from troth.cli.backup.portable import (
    OWNED,
    UNPROVEN,
    Manifest,
    Place,
    is_restorable,
    namespaces_of,
    place_of,
    portable,
)
from troth.cli.inputs.files import STDIN
from troth.resources.faults import FaultyManifests, ManifestFault
from troth.resources.kinds import EVERY_KIND_BY_NAME
from troth.resources.manifests import ManifestLoader
from troth.resources.schema.model import spelled

FORM = "is not a backup; name the output of `troth backup`, or of `kubectl get -o json`"


def read(paths: Iterable[Path]) -> list[Manifest]:
    """Return the objects in files, as a backup has them, each once; the first file wins.

    Namespaces without another object are left out.

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
            sentence = (
                "its names are proven only in the cluster where users wrote them; remove it"
                if kind in UNPROVEN
                else "Troth did not write it; restore it with your own backup"
            )
            faults.append(ManifestFault(name, f"{kind} {ref}", "", sentence))
    if faults:
        raise FaultyManifests(faults)
    held = namespaces_of(each for each in found.values() if each["kind"] != "Namespace")
    return [
        each
        for each in found.values()
        if each["kind"] != "Namespace" or each["metadata"]["name"] in held
    ]


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


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, alias_generator=spelled)


class _Owner(_Part):
    kind: str
    name: str


class _Metadata(_Part):
    name: str
    namespace: str | None = None
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    owner_references: list[_Owner] | None = None
    managed_fields: list[dict[str, Any]] | None = None


class _Status(_Part):
    conditions: list[dict[str, Any]] | None = None


class _Object(_Part):
    """Parts of an object on which a restore relies."""

    kind: str
    metadata: _Metadata
    spec: dict[str, Any] | None = None
    data: dict[str, Any] | None = None
    status: _Status | None = None


def _has_form(item: object) -> bool:
    """Return whether an item is an object, in a namespace if its kind needs one."""
    try:
        found = _Object.model_validate(item)
    except ValidationError:
        return False
    kind = EVERY_KIND_BY_NAME.get(found.kind)
    namespaced = kind.namespaced if kind is not None else found.kind in OWNED
    return bool(found.metadata.namespace) or not namespaced
