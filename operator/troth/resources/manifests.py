"""Reading and writing manifests as YAML, with errors that name file, object, field and fix."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml
from pydantic import ValidationError

from troth.resources.kinds import KIND_BY_NAME
from troth.resources.metadata import API_VERSION, GROUP, Resource

Manifest = dict[str, Any]


class _Dumper(yaml.SafeDumper):
    """Writes every value in full, without YAML aliases."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ANN401, ARG002 - the base class's signature
        return True


class _Loader(yaml.SafeLoader):
    """Reads unquoted scalars as kubectl does, which is neither exactly YAML 1.1 nor 1.2.

    A label value `n` is a boolean and `1e3` is a number, and both are rejected. `1:30` and
    `2026-11-24` are text.
    """

    bool_values = {**yaml.SafeLoader.bool_values, "y": True, "n": False}  # noqa: RUF012
    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012


for _tag, _pattern, _first in (
    (
        "bool",
        "y|Y|yes|Yes|YES|on|On|ON|true|True|TRUE|n|N|no|No|NO|off|Off|OFF|false|False|FALSE",
        "yYnNtTfFoO",
    ),
    ("null", "~|null|Null|NULL|", "~nN"),
    ("merge", "<<", "<"),
    (
        "int",
        r"[-+]?(0b[01_]+|0x[0-9a-fA-F_]+|0o?[0-7_]+|[1-9][0-9_]*|0)",
        "-+0123456789",
    ),
    ("float", r"[-+]?(\.[0-9_]+|[0-9][0-9_]*(\.[0-9_]*)?)([eE][-+]?[0-9]+)?", "-+.0123456789"),
):
    # the empty scalar is null, and is registered under the empty string
    for _reader in (_Loader, _Dumper):  # the dumper must quote text that reads as another type
        _reader.add_implicit_resolver(
            f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), [*_first, ""]
        )


def dump(manifest: Manifest) -> str:
    """Return a manifest as YAML."""
    return yaml.dump(manifest, Dumper=_Dumper, sort_keys=False, width=100, allow_unicode=True)


@dataclass(frozen=True, slots=True)
class ManifestFault:
    """One fault of a manifest, and its place."""

    source: str
    subject: str
    field: str
    sentence: str

    def __str__(self) -> str:
        place = ": ".join(part for part in (self.source, self.subject, self.field) if part)
        return f"{place}: {self.sentence}"


class FaultyManifests(Exception):  # noqa: N818 - the name states the fault
    """Raised for invalid manifests; has every fault found."""

    def __init__(self, faults: list[ManifestFault]) -> None:
        super().__init__("\n".join(str(fault) for fault in faults))
        self.faults = faults


def describe(manifest: Manifest) -> str:
    """Return `Kind namespace/name` of a manifest, with placeholders for missing parts."""
    metadata = manifest.get("metadata") or {}
    name = metadata.get("name", "(no name)")
    namespace = metadata.get("namespace")
    return f"{manifest.get('kind', '(no kind)')} {namespace + '/' if namespace else ''}{name}"


def documents(text: str, source: str) -> Iterator[Manifest]:
    """Yield the objects of a YAML stream, with the items of a List in its place.

    Raises `FaultyManifests` if the text is not YAML or a document is not an object.
    """
    try:
        loaded = list(yaml.load_all(text, _Loader))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f"line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "unreadable"
        raise FaultyManifests(
            [ManifestFault(source, "", line, f"not valid YAML: {problem}")]
        ) from None
    for position, document in enumerate(loaded, start=1):
        if document is None:
            continue
        if not isinstance(document, dict) or not isinstance(document.get("kind"), str):
            sentence = "not a Kubernetes object; give it apiVersion, kind and metadata"
            raise FaultyManifests([ManifestFault(source, "", f"document {position}", sentence)])
        if document["kind"] == "List":
            yield from document.get("items") or []
        else:
            yield document


def is_ours(manifest: Manifest) -> bool:
    """Return whether a manifest is of Troth's API group."""
    return str(manifest.get("apiVersion", "")).partition("/")[0] == GROUP


def parse_resource(manifest: Manifest, source: str = "") -> Resource:
    """Return the resource that a manifest of Troth's group describes.

    Raises `FaultyManifests` if the manifest is invalid.
    """
    subject = describe(manifest)
    kind = KIND_BY_NAME.get(manifest["kind"])
    if kind is None:
        known = ", ".join(KIND_BY_NAME)
        raise FaultyManifests(
            [ManifestFault(source, subject, "kind", f"unknown; write one of {known}")]
        )
    if manifest.get("apiVersion") != API_VERSION:
        raise FaultyManifests(
            [ManifestFault(source, subject, "apiVersion", f"write {API_VERSION}")]
        )
    try:
        return kind.model.parse(manifest)
    except ValidationError as error:
        raise FaultyManifests(faults_of(error, source, subject)) from None


def faults_of(error: ValidationError, source: str, subject: str) -> list[ManifestFault]:
    """Return pydantic's errors as faults, without the input values."""
    return [
        ManifestFault(source, subject, _path(detail["loc"]), _mend(detail["type"], detail["msg"]))
        for detail in error.errors(include_url=False, include_context=False, include_input=False)
    ]


def _path(location: tuple[int | str, ...]) -> str:
    path = ""
    for step in location:
        path += f"[{step}]" if isinstance(step, int) else f".{step}"
    return path.removeprefix(".")


def _mend(kind: str, message: str) -> str:
    match kind:
        case "missing":
            return "required; add it"
        case "extra_forbidden":
            return "unknown field; remove it or correct its spelling"
        case _:
            return message[:1].lower() + message[1:]
