"""Comparison of a CRD with the fields that a model reads and writes."""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from troth.resources.kinds import KINDS, Kind
from troth.resources.metadata import VERSION
from troth.resources.schema.fields import ANYTHING, fields_of_crd, fields_of_resource, missing

CRDS = Path(__file__).parents[3] / "crds"
Schema = dict[str, Any]


def crd(kind: Kind) -> Schema:
    found: Schema = yaml.load((CRDS / f"{kind.plural}.yaml").read_text(), yaml.CSafeLoader)
    return found


def root(manifest: Schema) -> Schema:
    found: Schema = manifest["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return found


def lacks(kind: Kind, installed: Schema) -> list[str]:
    return missing(fields_of_resource(kind.model), fields_of_crd(installed, VERSION))


def places(schema: Schema, path: str = "") -> Iterator[tuple[str, Schema, str]]:
    """Yield the path of each field, the properties that it is in, and its name."""
    properties = schema.get("properties", {})
    for name, part in properties.items():
        below = f"{path}.{name}".removeprefix(".")
        yield below, properties, name
        yield from places(part, below)
    for word, mark in ("items", "[]"), ("additionalProperties", "{}"):
        if isinstance(schema.get(word), dict):
            yield from places(schema[word], path + mark)


every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)


@every_kind
def test_model_and_its_crd_have_the_same_fields(kind: Kind) -> None:
    of_crd = {
        each
        for each in fields_of_crd(crd(kind), VERSION)
        if each.startswith(("spec", "status")) and not each.endswith(ANYTHING)
    }
    assert fields_of_resource(kind.model) == of_crd


@every_kind
def test_each_removed_field_is_named(kind: Kind) -> None:
    installed = crd(kind)
    found = 0
    for path, properties, name in list(places(root(installed))):
        if not path.startswith(("spec", "status")):
            continue
        before = copy.copy(properties)
        del properties[name]
        assert lacks(kind, installed) == [path]
        properties.clear()
        properties.update(before)
        found += 1
    assert found > 10
    assert lacks(kind, installed) == []


@every_kind
def test_newer_crd_lacks_nothing(kind: Kind) -> None:
    installed = crd(kind)
    for part in ("spec", "status"):
        root(installed)["properties"][part]["properties"]["later"] = {"type": "string"}
        root(installed)["properties"][part].setdefault("required", []).append("later")
    assert lacks(kind, installed) == []


@every_kind
def test_crd_without_the_version_lacks_everything(kind: Kind) -> None:
    installed = crd(kind)
    installed["spec"]["versions"][0]["served"] = False
    assert lacks(kind, installed) == ["spec", "status"]
    for malformed in ({}, {"spec": None}, {"spec": {"versions": [None, {"name": VERSION}]}}):
        assert lacks(kind, malformed) == ["spec", "status"]


def test_missing_value_of_an_enumeration_is_named() -> None:
    kind = next(each for each in KINDS if each.name == "ServiceIdentity")
    installed = crd(kind)
    enforcement = root(installed)["properties"]["spec"]["properties"]["enforcement"]
    enforcement["enum"].remove("Observe")
    assert lacks(kind, installed) == ["spec.enforcement=Observe"]
    enforcement["enum"].extend(["Observe", "Later"])
    assert lacks(kind, installed) == []
    del enforcement["enum"]
    assert lacks(kind, installed) == []


def test_crd_that_keeps_unknown_fields_lacks_nothing() -> None:
    kind = KINDS[0]
    installed = crd(kind)
    spec = root(installed)["properties"]["spec"]
    del spec["properties"]
    spec["x-kubernetes-preserve-unknown-fields"] = True
    assert lacks(kind, installed) == []
