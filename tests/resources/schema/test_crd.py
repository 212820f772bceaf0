"""The generated CustomResourceDefinitions match the models and the API server's rules."""

import re
from pathlib import Path

import pytest

from tests.resources.schemas import parts, schema
from troth.resources.conditions import UNOBSERVED
from troth.resources.kinds import EVERY_KIND, KINDS, Kind
from troth.resources.manifests import dump
from troth.resources.schema.crd import custom_resource_definition, has_status, structural
from troth.resources.schema.rules import VALIDATIONS

CRDS = Path(__file__).parents[3] / "crds"
every_kind = pytest.mark.parametrize("kind", EVERY_KIND, ids=lambda kind: kind.name)
kind_with_status = pytest.mark.parametrize(
    "kind",
    [kind for kind in EVERY_KIND if has_status(kind.model)],
    ids=lambda kind: kind.name,
)


@every_kind
def test_checked_in_crds_equal_the_models(kind: Kind) -> None:
    """After a change of a model: `make crds`."""
    assert (CRDS / f"{kind.plural}.yaml").read_text() == dump(custom_resource_definition(kind))


def test_no_other_crds_are_checked_in() -> None:
    assert {path.name for path in CRDS.iterdir()} == {f"{kind.plural}.yaml" for kind in EVERY_KIND}


@every_kind
def test_schema_has_nothing_that_the_api_server_rejects(kind: Kind) -> None:
    refused = {
        *("$ref", "$defs", "anyOf", "oneOf", "allOf", "const", "discriminator", "examples"),
        *("uniqueItems", "prefixItems", "title", "patternProperties"),
    }
    for path, part in parts(schema(kind)):
        assert not refused & part.keys(), path
        assert part.get("type") in {"object", "array", "string", "integer", "boolean"}, path
        assert not ("properties" in part and "additionalProperties" in part), path
        assert part.get("additionalProperties") is not False, path
        for bound in ("exclusiveMinimum", "exclusiveMaximum"):
            assert not isinstance(part.get(bound), int | float), path


@every_kind
def test_every_field_has_a_description(kind: Kind) -> None:
    described = schema(kind)
    assert described["description"]
    for part in described["properties"].keys() & {"spec", "status"}:
        for path, field in parts(described["properties"][part], part):
            if not path.endswith("[]"):
                assert field.get("description", "").strip(), path
                assert "\n" not in field["description"], path


@every_kind
def test_every_list_is_bounded_and_says_how_it_merges(kind: Kind) -> None:
    """CEL's cost budget, and server-side apply."""
    for path, part in parts(schema(kind)):
        if part.get("type") == "array":
            assert part.get("maxItems"), path
            assert part["x-kubernetes-list-type"] in {"set", "map", "atomic"}, path
            for key in part.get("x-kubernetes-list-map-keys", []):
                item = part["items"]
                assert key in item.get("required", []) or "default" in item["properties"][key], path
        if part.get("type") == "string" and path.startswith(".spec"):
            assert part.keys() & {"maxLength", "enum", "format"} or VALIDATIONS in part, path


@kind_with_status
def test_kind_has_a_status_and_a_short_name(kind: Kind) -> None:
    definition = custom_resource_definition(kind)
    names = definition["spec"]["names"]
    assert names["categories"] == ["troth"]
    assert names["shortNames"] == [kind.short_name]
    (version,) = definition["spec"]["versions"]
    assert version["subresources"] == {"status": {}}
    assert [column["name"] for column in version["additionalPrinterColumns"]][-1] == "Age"
    assert definition["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_column_shows_whether_a_planned_resource_is_ready(kind: Kind) -> None:
    (ready,) = (column for column in kind.columns if column.name == "Ready")
    assert ready.path == '.status.conditions[?(@.type=="Ready")].status'


@kind_with_status
def test_status_before_the_first_write_is_of_no_generation(kind: Kind) -> None:
    """kstatus takes a resource without a status for ready."""
    status = schema(kind)["properties"]["status"]
    assert status["default"] == {"observedGeneration": UNOBSERVED}


@kind_with_status
def test_conditions_are_replaced_as_a_whole(kind: Kind) -> None:
    """One program writes them, so the API server need not record an owner of each field."""
    conditions = schema(kind)["properties"]["status"]["properties"]["conditions"]
    assert conditions["x-kubernetes-list-type"] == "atomic"
    item = conditions["items"]
    assert {"type", "status", "reason", "lastTransitionTime"} <= set(item["required"])
    assert item["properties"]["status"]["enum"] == ["True", "False", "Unknown"]


def test_only_a_kind_that_no_program_writes_has_no_status() -> None:
    """A status that nobody writes would keep it in progress for kstatus; without, it is ready."""
    (kind,) = (kind for kind in EVERY_KIND if not has_status(kind.model))
    assert kind.name == "FindingException"
    (version,) = custom_resource_definition(kind)["spec"]["versions"]
    assert "subresources" not in version
    assert schema(kind)["properties"].keys() == {"apiVersion", "kind", "metadata", "spec"}


@every_kind
def test_defaults_are_written_as_a_user_would(kind: Kind) -> None:
    for path, part in parts(schema(kind)):
        default = part.get("default", "none")
        assert default not in (None, [], {}), path
        assert not re.match("P[T0-9]", str(default)), f"{path}: an ISO duration"


def test_optional_field_has_no_null() -> None:
    optional = {"anyOf": [{"$ref": "#/$defs/Part"}, {"type": "null"}], "default": None}
    part = {"type": "object", "title": "Part", "additionalProperties": False}
    assert structural(optional, {"Part": part}) == {"type": "object"}


def test_single_value_becomes_an_enum() -> None:
    assert structural({"const": "Active", "type": "string"}, {}) == {
        "enum": ["Active"],
        "type": "string",
    }


def test_integer_has_a_format() -> None:
    assert structural({"type": "integer"}, {})["format"] == "int64"
    assert structural({"type": "integer", "maximum": 9}, {})["format"] == "int32"


@every_kind
def test_no_rule_compares_networks_with_one_another(kind: Kind) -> None:
    # Kubernetes 1.31 gives that an unlimited cost, and rejects the CRD.
    for path, part in parts(schema(kind)):
        for validation in part.get(VALIDATIONS, ()):
            assert not re.search(r"== (cidr|ip)\(", validation["rule"]), path
