"""Manifest files, and the options that name a command's input."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from troth.planning.network.external_peers import NAMESPACE_NAME
from troth.resources.kinds import KIND_BY_NAME
from troth.resources.manifests import (
    FaultyManifests,
    Manifest,
    ManifestFault,
    describe,
    documents,
    is_ours,
    parse_resource,
)
from troth.resources.references import Ref
from troth.resources.schema.model import Model, immutable_changes
from troth.world.watch_class import SCHEMA as LABEL

READ = {*KIND_BY_NAME, "Namespace", "Service", "Secret", "ConfigMap"}
"""Kinds that affect a plan; other kinds in a folder are ignored."""
INITIAL_NAMESPACES = ("default", "kube-node-lease", "kube-public", "kube-system")

Files = Annotated[
    list[Path] | None,
    typer.Option(
        "--filename", "-f", help="Manifest file, or folder to read recursively; repeatable."
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


def read(files: Iterable[Path]) -> list[Manifest]:
    """Return the validated manifests of the kinds in `READ` from files and folders.

    Raises `FaultyManifests` with all errors of all files.
    """
    faults: list[ManifestFault] = []
    manifests: list[Manifest] = []
    for path in files:
        if not path.exists():
            faults.append(ManifestFault(str(path), "", "", "no such file or folder"))
        for file in sorted(manifest_files(path)):
            try:
                manifests += list(_checked(file))
            except FaultyManifests as error:
                faults += error.faults
    faults += _duplicates(manifests)
    if faults:
        raise FaultyManifests(faults)
    return manifests


def manifest_files(path: Path) -> Iterable[Path]:
    """Return the file, or the YAML and JSON files in a folder and its subfolders."""
    if path.is_file():
        return [path]
    return [file for file in path.rglob("*") if file.suffix in (".yaml", ".yml", ".json")]


def _checked(file: Path) -> Iterable[Manifest]:
    faults: list[ManifestFault] = []
    found: list[Manifest] = []
    for manifest in documents(file.read_text(), str(file)):
        if not is_ours(manifest) and manifest["kind"] not in READ:
            continue
        metadata = manifest.get("metadata")
        if not isinstance(metadata, dict) or not isinstance(metadata.get("name"), str):
            faults.append(
                ManifestFault(str(file), describe(manifest), "metadata.name", "required; add it")
            )
            continue
        kind = KIND_BY_NAME.get(manifest["kind"])
        if is_ours(manifest):
            try:
                parse_resource(manifest, str(file))
            except FaultyManifests as error:
                faults += error.faults
        if manifest["kind"] == "Secret":
            continue  # Secrets in manifests do not affect a plan
        if manifest["kind"] == "ConfigMap" and LABEL not in (metadata.get("labels") or {}):
            continue  # only ConfigMaps with schemas affect a plan
        namespaced = manifest["kind"] in ("Service", "ConfigMap") or (kind and kind.namespaced)
        found.append(_as_stored(manifest, namespaced=bool(namespaced)))
    if faults:
        raise FaultyManifests(faults)
    return found


def _as_stored(manifest: Manifest, *, namespaced: bool) -> Manifest:
    """Return a manifest with the metadata that kubectl and the API server add."""
    metadata = manifest["metadata"]
    if manifest["kind"] == "Namespace":
        metadata = namespace_metadata(metadata)
    elif namespaced:
        metadata = {"namespace": "default", **metadata}
    return {**manifest, "metadata": metadata}


def namespace_metadata(metadata: Manifest) -> Manifest:
    """Return a namespace's metadata with the name label that the API server adds."""
    labels = metadata.get("labels") or {}
    return {**metadata, "labels": {**labels, NAMESPACE_NAME: metadata["name"]}}


def initial_objects() -> list[Manifest]:
    """Return the namespaces of an empty cluster."""
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": namespace_metadata({"name": name})}
        for name in INITIAL_NAMESPACES
    ]


def _duplicates(manifests: list[Manifest]) -> list[ManifestFault]:
    seen: set[tuple[str, Ref]] = set()
    faults = []
    for manifest in manifests:
        place = manifest["kind"], Ref.of(manifest)
        if place in seen:
            faults.append(
                ManifestFault(
                    "", describe(manifest), "", "defined twice; remove one of the definitions"
                )
            )
        seen.add(place)
    return faults


def check_updates(before: dict[tuple[str, Ref], Manifest], manifests: list[Manifest]) -> None:
    """Raise `FaultyManifests` if a manifest changes an immutable field of an existing object."""
    faults = []
    for manifest in manifests:
        old = before.get((manifest["kind"], Ref.of(manifest)))
        if old is None or not is_ours(manifest):
            continue
        was, is_now = (_spec(each) for each in (old, manifest))
        faults += [
            ManifestFault("", describe(manifest), "spec", sentence)
            for sentence in immutable_changes(was, is_now)
        ]
    if faults:
        raise FaultyManifests(faults)


def _spec(manifest: Manifest) -> Model:
    spec: Model = parse_resource(manifest).spec  # type: ignore[attr-defined]
    return spec
