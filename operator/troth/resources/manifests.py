"""Manifests of Troth's kinds: how they are written as YAML, and the resources they describe."""

import math
import re
from dataclasses import replace
from typing import Any

import yaml
from pydantic import ValidationError

from troth.resources.faults import FaultyManifests, ManifestFault, Step, faults_of, shown
from troth.resources.kinds import EVERY_KIND_BY_NAME
from troth.resources.metadata import API_VERSION, GROUP, Resource
from troth.resources.schema.sentences import nearest
from troth.resources.schema.suggestions import field_meant

Manifest = dict[str, Any]


class _Dumper(yaml.SafeDumper):
    """Writes every value in full, without YAML aliases."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ANN401, ARG002 - the base class's signature
        return True


class ManifestLoader(yaml.SafeLoader):
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
    for _reader in (ManifestLoader, _Dumper):
        # the dumper too, because it must quote text that reads as another type;
        # the empty scalar is null, and is registered under the empty string
        _reader.add_implicit_resolver(
            f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), [*_first, ""]
        )


_QUOTED = re.compile(r"""('<[a-z ]+>'|'\\?.'|"'")|['"].*""", re.DOTALL)
"""A quotation in an error of PyYAML. The group has the name of a token, or one character."""
_HINTS = {
    "found undefined alias": "*",
    "could not determine a constructor for the tag": "!",
    "found undefined tag handle": "!",
}
"""Starts of PyYAML's errors about unquoted text, and the character that such a text begins with."""


def problem_of(error: object) -> str:
    """Return the text of an error of PyYAML as one line, without the text that it quotes.

    PyYAML quotes the names of tags, aliases and anchors, and reads a password that begins with `!`,
    `*` or `&` as one. Names of tokens, such as `<block end>`, and single characters stay.
    """
    text = _QUOTED.sub(lambda found: found[1] or "…", str(error))
    hints = [character for start, character in _HINTS.items() if text.startswith(start)]
    hint = f"; put a value that begins with {hints[0]} in quotes" if hints else ""
    return " ".join(text.split()) + hint


def dump(manifest: Manifest, *, ascii: bool = False) -> str:  # noqa: A002 - as `builtins.ascii`
    """Return a manifest as YAML; with `ascii`, all other characters are escaped."""
    return yaml.dump(manifest, Dumper=_Dumper, sort_keys=False, width=100, allow_unicode=not ascii)


def dump_inline(value: object) -> str:
    """Return a value as YAML in one line, such as `{name: payments}`, in ASCII characters."""
    text = yaml.dump(
        value, Dumper=_Dumper, sort_keys=False, width=math.inf, default_flow_style=True
    )
    return str(text).removesuffix("\n").removesuffix("\n...")


def describe(manifest: Manifest) -> str:
    """Return `Kind namespace/name` of a manifest, with placeholders for missing parts."""
    metadata = manifest.get("metadata")
    named: Manifest = metadata if isinstance(metadata, dict) else {}
    kind, namespace, name = manifest.get("kind"), named.get("namespace"), named.get("name")
    place = f"{namespace}/" if namespace and isinstance(namespace, str) else ""
    shown_kind = kind if isinstance(kind, str) else "(no kind)"
    return f"{shown_kind} {place}{name if name and isinstance(name, str) else '(no name)'}"


def is_ours(manifest: Manifest) -> bool:
    """Return whether a manifest is of Troth's API group."""
    return str(manifest.get("apiVersion", "")).partition("/")[0] == GROUP


def parse_resource(manifest: Manifest, source: str = "") -> Resource:
    """Return the resource that a manifest of Troth's group describes.

    Raises `FaultyManifests` if the manifest is invalid.
    """
    subject = describe(manifest)
    kind = EVERY_KIND_BY_NAME.get(manifest["kind"])
    if kind is None:
        meant = nearest(manifest["kind"], EVERY_KIND_BY_NAME)
        hint = f"did you mean {meant}? " if meant else ""
        known = ", ".join(EVERY_KIND_BY_NAME)
        raise FaultyManifests(
            [
                ManifestFault(
                    source,
                    subject,
                    "kind",
                    f"unknown; {hint}write one of {known}",
                    code="UnknownKind",
                    value=shown(manifest["kind"], ()),
                    steps=("kind",),
                )
            ]
        )
    if manifest.get("apiVersion") != API_VERSION:
        raise FaultyManifests([version_fault(manifest, source)])
    try:
        return kind.model.parse(manifest)
    except ValidationError as error:
        faults = faults_of(error, source, subject)
        raise FaultyManifests(_with_suggestions(faults, kind.name)) from None


def version_fault(manifest: Manifest, source: str = "") -> ManifestFault:
    """Return the fault of a manifest whose apiVersion does not have its kind."""
    return ManifestFault(
        source,
        describe(manifest),
        "apiVersion",
        f"{'has no such kind' if manifest.get('apiVersion') else 'required'}; write {API_VERSION}",
        code="WrongAPIVersion",
        value=shown(manifest.get("apiVersion"), ()),
        steps=("apiVersion",),
    )


def _with_suggestions(faults: list[ManifestFault], kind: str) -> list[ManifestFault]:
    """Return the faults, those of unknown fields with the field that is meant, if there is one.

    A field that is missing because it is misspelled is no fault of its own.
    """
    told, misspelled = [], set[tuple[Step, ...]]()
    for fault in faults:
        meant = field_meant(kind, fault.steps) if fault.code == "UnknownField" else ""
        misspelled.add((*fault.steps[:-1], meant))
        sentence = f"unknown field; did you mean {meant}?" if meant else fault.sentence
        told.append(replace(fault, sentence=sentence))
    return [
        fault for fault in told if fault.code != "MissingField" or fault.steps not in misspelled
    ]
