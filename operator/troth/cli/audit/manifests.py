"""Manifests as the input of an audit: objects of all kinds that rules read, with their places."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

from troth.audit.finding import Object
from troth.cli.audit.places import steps_of
from troth.cli.inputs.documents import (
    MAX_FAULTS,
    Document,
    ValueCount,
    has_too_many,
    read_stream,
)
from troth.cli.inputs.files import read_files
from troth.cli.inputs.sources import faults_of_metadata, namespace_metadata
from troth.cluster.resources import AUDITED, RESOURCES, resource_of
from troth.resources.faults import MAX_FAULTS as MAX_FAULTS_OF_OBJECT
from troth.resources.faults import FaultyManifests, ManifestFault, place_in
from troth.resources.manifests import Manifest, describe, is_ours, parse_resource
from troth.resources.references import Ref

_EARLIER_GROUPS = {"extensions": "networking.k8s.io", "traefik.containo.us": "traefik.io"}
"""Groups that kinds had in earlier releases, and their groups now."""


@dataclass(slots=True)
class Manifests:
    """The objects of files that rules read, and what is wrong with the files."""

    documents: dict[Object, Document] = field(default_factory=dict)
    faults: list[ManifestFault] = field(default_factory=list)
    """Input that was not evaluated."""
    files: int = 0

    def place(self, place: Object, path: str) -> tuple[str, int] | None:
        """Return file and line of a field of an object, None if no file has the object.

        For a field that does not exist, it is the line of the closest enclosing one.
        """
        found = self.documents.get(place)
        if found is None:
            return None
        return found.source, found.line(steps_of(found.manifest, path))

    def reject(self, place: Object, sentence: str) -> None:
        """Leave an object out, with a fault that says why."""
        document = self.documents.pop(place)
        subject, line = describe(document.manifest), document.line()
        fault = ManifestFault(document.source, subject, "", sentence, "NotOfItsKind", line=line)
        self.faults.append(fault)


def collect(files: Iterable[Path], namespace: str) -> Manifests:
    """Return the manifests in files, folders and standard input.

    `namespace` is that of an object which names none. Objects of kinds that no rule reads are left
    out, with their faults.
    """
    found, count = Manifests(), ValueCount()
    for source, text in read_files(files):
        if has_too_many(found.faults, source):
            break
        found.files += 1
        if isinstance(text, ManifestFault):
            found.faults.append(text)
            continue
        documents, faults = read_stream(text, source, count)
        found.faults += faults
        for document in documents:
            if has_too_many(found.faults, source):
                return found
            _add(document, namespace, found)
    return found


def _add(document: Document, namespace: str, found: Manifests) -> None:
    manifest = document.manifest
    if not _is_read(manifest):
        return
    manifest = _named(manifest)
    subject = describe(manifest)
    metadata = islice(faults_of_metadata(manifest), MAX_FAULTS_OF_OBJECT)
    faults = [replace(each, subject=subject) for each in (*document.faults[:MAX_FAULTS], *metadata)]
    if is_ours(manifest) and not faults:
        try:
            parse_resource(manifest)
        except FaultyManifests as error:
            faults += error.faults
    if not faults:
        stored = _as_stored(manifest, namespace)
        place = Object(stored["kind"], Ref.of(stored))
        before = found.documents.get(place)
        if before is None:
            found.documents[place] = replace(document, manifest=stored)
            return
        if before.manifest == stored:
            return
        there = place_in(before.source, before.line())
        sentence = f"defined twice; it is also in {there}; audit the two separately"
        faults = [ManifestFault("", describe(stored), "", sentence, code="DefinedTwice")]
    found.faults += [
        replace(each, source=document.source, line=each.line or document.line(each.steps))
        for each in faults
    ]


def _is_read(manifest: Manifest) -> bool:
    """Return whether a manifest is of a kind that rules read, or of Troth's group."""
    kind, version = manifest["kind"], str(manifest.get("apiVersion", ""))
    if is_ours(manifest):
        return True
    if kind not in RESOURCES and kind not in AUDITED:
        return False
    group = version.rpartition("/")[0]
    known = resource_of(kind).group or ""
    return known in {group, _EARLIER_GROUPS.get(group)} or (group == "extensions" and known != "")


def _named(manifest: Manifest) -> Manifest:
    """Return a manifest with a name; the API server appends characters to a generateName."""
    metadata = manifest.get("metadata")
    if not isinstance(metadata, dict) or metadata.get("name") or not metadata.get("generateName"):
        return manifest
    return {**manifest, "metadata": {**metadata, "name": metadata["generateName"]}}


def _as_stored(manifest: Manifest, namespace: str) -> Manifest:
    """Return a manifest with the metadata that kubectl and the API server add."""
    kind, metadata = manifest["kind"], manifest["metadata"]
    if kind == "Namespace":
        return {**manifest, "metadata": namespace_metadata(metadata)}
    if resource_of(kind).namespaced:
        metadata = {**metadata, "namespace": metadata.get("namespace") or namespace}
    else:
        metadata = {name: value for name, value in metadata.items() if name != "namespace"}
    return {**manifest, "metadata": metadata}
