"""Manifests as the input of a command, and the options that name it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from difflib import SequenceMatcher
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

from troth.cli.inputs.documents import (
    MAX_FAULTS,
    Document,
    ValueCount,
    has_too_many,
    read_stream,
)
from troth.cli.inputs.files import read_files
from troth.planning.network.external_peers import NAMESPACE_NAME
from troth.resources.faults import MAX_FAULTS as MAX_FAULTS_OF_OBJECT
from troth.resources.faults import FaultyManifests, ManifestFault, Step, path, place_in, shown
from troth.resources.kinds import EVERY_KIND_BY_NAME
from troth.resources.manifests import (
    Manifest,
    describe,
    is_ours,
    parse_resource,
    version_fault,
)
from troth.resources.metadata import GROUP
from troth.resources.references import Ref
from troth.resources.schema.model import Model, immutable_changes
from troth.resources.schema.sentences import REQUIRED, TEXT
from troth.world.watch_class import SCHEMA as LABEL

CORE = ("Namespace", "Service", "Secret", "ConfigMap")
"""Kinds of Kubernetes that affect a plan. Other kinds are ignored."""
INITIAL_NAMESPACES = ("default", "kube-node-lease", "kube-public", "kube-system")
ALIKE = 0.6
"""Similarity from which an API group is a misspelled one of Troth's."""

Files = Annotated[
    list[Path] | None,
    typer.Option(
        "--filename",
        "-f",
        metavar="FILE|DIR|-",
        help="Manifest file, folder to read recursively, or - for standard input; repeatable.",
    ),
]
Kubeconfig = Annotated[
    Path | None,
    typer.Option(
        "--kubeconfig",
        envvar="TROTH_KUBECONFIG",
        help="Kubeconfig file of a cluster; manifests override its objects.",
    ),
]
Context = Annotated[
    str | None, typer.Option("--context", help="Kubeconfig context. Defaults to the current one.")
]
Place = tuple[str, Ref]


@dataclass(slots=True)
class Manifests:
    """The manifests of a command's input that affect a plan, and all faults."""

    documents: dict[Place, Document] = field(default_factory=dict)
    faults: list[ManifestFault] = field(default_factory=list)
    files: int = 0
    unplaced: bool = False
    """Whether an object of Troth's has no kind or no name by which others could refer to it."""
    without_namespace: list[Place] = field(default_factory=list)
    """Objects that do not say in which namespace they are."""

    @property
    def objects(self) -> list[Manifest]:
        """The manifests as the API server stores them, those with an invalid spec included."""
        return [each.manifest for each in self.documents.values()]

    def find(self, kind: str, ref: Ref, steps: Iterable[Step] = ()) -> tuple[str, int] | None:
        """Return file and line of a field of an object, None if no file has the object."""
        found = self.documents.get((kind, ref))
        return None if found is None else (found.source, found.line(steps))

    def line(self, kind: str, ref: Ref, steps: Iterable[Step] = ()) -> str:
        """Return `file:line` of a field of an object, empty if no file has the object."""
        return place_in(*(self.find(kind, ref, steps) or ("", 0)))


def read(files: Iterable[Path], namespace: str = "default") -> Manifests:
    """Return the manifests in files, folders and standard input.

    `namespace` is that of an object which names none. Raises `FaultyManifests` with all errors of
    all files.
    """
    manifests = collect(files, namespace)
    if manifests.faults:
        raise FaultyManifests(manifests.faults)
    return manifests


def collect(files: Iterable[Path], namespace: str = "default") -> Manifests:
    """Return what `read` does, with the faults instead of raising them."""
    found, count = Manifests(), ValueCount()
    for source, text in read_files(files):
        if has_too_many(found.faults, source):
            break
        found.files += 1
        if isinstance(text, ManifestFault):
            found.faults.append(text)
            continue
        documents, faults = read_stream(text, source, count)
        for document in documents:
            if has_too_many(found.faults, source):
                return found
            _add(document, namespace, found)
        found.faults += faults
    return found


def _add(document: Document, namespace: str, found: Manifests) -> None:
    manifest = document.manifest
    if not is_ours(manifest) and manifest.get("apiVersion") != "v1":
        if _is_misspelled(manifest):
            found.faults.append(_placed(version_fault(manifest), document))
            found.unplaced = True
        return
    if not is_ours(manifest) and manifest["kind"] not in CORE:
        return
    subject = describe(manifest)
    faults = [replace(each, subject=subject) for each in document.faults[:MAX_FAULTS]]
    metadata = list(islice(faults_of_metadata(manifest), MAX_FAULTS_OF_OBJECT))
    if is_ours(manifest) and not metadata:
        try:
            parse_resource(manifest)
        except FaultyManifests as error:
            faults += error.faults
    found.faults += [_placed(each, document) for each in (*faults, *metadata)]
    if metadata or (is_ours(manifest) and manifest["kind"] not in EVERY_KIND_BY_NAME):
        found.unplaced = True
        return
    if not _affects_a_plan(manifest):
        return
    stored = _as_stored(manifest, namespace)
    place = stored["kind"], Ref.of(stored)
    before = found.documents.get(place)
    if before is not None:
        there = place_in(before.source, before.line())
        sentence = f"defined twice; it is also in {there}; remove one of the definitions"
        fault = ManifestFault("", describe(stored), "", sentence, code="DefinedTwice")
        found.faults.append(_placed(fault, document))
        return
    if "namespace" in stored["metadata"] and not manifest["metadata"].get("namespace"):
        found.without_namespace.append(place)
    found.documents[place] = replace(document, manifest=stored)


def _affects_a_plan(manifest: Manifest) -> bool:
    match manifest["kind"]:
        case "Secret":
            return False  # Troth reads no Secret from a file
        case "ConfigMap":  # only ConfigMaps with schemas
            return LABEL in (manifest["metadata"].get("labels") or {})
        case _:
            return True


def _is_misspelled(manifest: Manifest) -> bool:
    """Return whether a manifest of another API group is meant to be one of Troth's.

    Other groups have kinds of these names too, such as ServiceIdentity.
    """
    if manifest["kind"] not in EVERY_KIND_BY_NAME:
        return False
    version = manifest.get("apiVersion")
    if not isinstance(version, str):
        return True
    group, slash, _ = version.partition("/")
    return not slash or SequenceMatcher(None, group.lower(), GROUP).ratio() >= ALIKE


def _placed(fault: ManifestFault, document: Document) -> ManifestFault:
    line = fault.line or document.line(fault.steps)
    return replace(fault, source=document.source, line=line)


def faults_of_metadata(manifest: Manifest) -> Iterator[ManifestFault]:
    """Yield the faults of the metadata that every kind has."""
    metadata = manifest.get("metadata")
    if metadata is None or (isinstance(metadata, dict) and metadata.get("name") in (None, "")):
        yield _metadata_fault(manifest, ("metadata", "name"), REQUIRED, "MissingField")
        return
    if not isinstance(metadata, dict):
        sentence = "write fields with their values, such as {name: payments}"
        yield _metadata_fault(manifest, ("metadata",), sentence)
        return
    for name in ("name", "namespace"):
        value = metadata.get(name)
        if value is not None and not isinstance(value, str):
            yield _metadata_fault(manifest, ("metadata", name), TEXT)
        elif value == "":
            sentence = "name a namespace, or remove the field"
            yield _metadata_fault(manifest, ("metadata", name), sentence)
    for name in ("labels", "annotations"):
        pairs = metadata.get(name)
        if pairs is not None and not isinstance(pairs, dict):
            sentence = "write names with their values, such as {app: payments}"
            yield _metadata_fault(manifest, ("metadata", name), sentence)
            continue
        for key, value in (pairs or {}).items():
            if not isinstance(value, str):
                yield _metadata_fault(manifest, ("metadata", name, key), TEXT)


def _metadata_fault(
    manifest: Manifest, steps: tuple[str, ...], sentence: str, code: str = "InvalidField"
) -> ManifestFault:
    value: object = manifest if manifest["kind"] != "Secret" else None
    for step in steps:
        value = value.get(step) if isinstance(value, dict) else None
    return ManifestFault(
        "",
        describe(manifest),
        path(steps),
        sentence,
        code=code,
        value="" if code == "MissingField" else shown(value, steps),
        steps=steps,
    )


def _as_stored(manifest: Manifest, namespace: str) -> Manifest:
    """Return a manifest with the metadata that kubectl and the API server add."""
    kind = manifest["kind"]
    metadata = manifest["metadata"]
    if not is_ours(manifest):  # nothing else of their metadata affects a plan
        kept = ("name", "namespace", "labels", "annotations")
        metadata = {name: metadata[name] for name in kept if metadata.get(name) is not None}
    if kind == "Namespace":
        metadata = namespace_metadata(metadata)
    elif kind in CORE or EVERY_KIND_BY_NAME[kind].namespaced:
        metadata = {**metadata, "namespace": metadata.get("namespace") or namespace}
    else:
        metadata = {name: value for name, value in metadata.items() if name != "namespace"}
    return {**manifest, "metadata": metadata}


def namespace_metadata(metadata: Manifest) -> Manifest:
    """Return a namespace's metadata with the name label that the API server adds."""
    labels = metadata.get("labels") or {}
    metadata = {name: value for name, value in metadata.items() if name != "namespace"}
    return {**metadata, "labels": {**labels, NAMESPACE_NAME: metadata["name"]}}


def initial_objects() -> list[Manifest]:
    """Return the namespaces of an empty cluster."""
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": namespace_metadata({"name": name})}
        for name in INITIAL_NAMESPACES
    ]


def check_updates(before: dict[Place, Manifest], manifests: Manifests) -> list[ManifestFault]:
    """Return a fault for each immutable field that a manifest changes of an existing object."""
    faults = []
    for place, document in manifests.documents.items():
        old, manifest = before.get(place), document.manifest
        if old is None or not is_ours(manifest):
            continue
        try:
            was, is_now = (_spec(each) for each in (old, manifest))
        except FaultyManifests:
            continue  # reported already, or not readable in the cluster
        faults += [
            _placed(
                ManifestFault(
                    "", describe(manifest), "spec", sentence, code="Immutable", steps=("spec",)
                ),
                document,
            )
            for sentence in immutable_changes(was, is_now)
        ]
    return faults


def _spec(manifest: Manifest) -> Model:
    spec: Model = parse_resource(manifest).spec  # type: ignore[attr-defined]
    return spec
