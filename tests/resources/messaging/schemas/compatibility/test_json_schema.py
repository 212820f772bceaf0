"""Comparison of JSON Schemas, compared with the verdicts of the real validator."""

import json
from functools import cache
from itertools import product
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from jsonschema_rs import validator_for

from tests.strategies import more
from troth.resources.messaging.schemas.compatibility.changes import Change, Side, Verdict, verdict
from troth.resources.messaging.schemas.compatibility.compare import MOST_CHANGES, changes_between
from troth.resources.messaging.schemas.reading import read_schema
from troth.resources.messaging.schemas.schema_text import MessageSchemaText

YES, NO, MAYBE = Verdict.COMPATIBLE, Verdict.INCOMPATIBLE, Verdict.UNDECIDED


def read(schema: Any) -> MessageSchemaText:
    found = read_schema(json.dumps(schema))
    assert isinstance(found, MessageSchemaText), found
    return found


def changes(old: Any, new: Any) -> tuple[Change, ...]:
    return changes_between(read(old), read(new))


def verdicts(old: Any, new: Any) -> tuple[Verdict, Verdict]:
    """Return the verdicts for producers and for consumers."""
    found = changes(old, new)
    return verdict(found, Side.PRODUCERS), verdict(found, Side.CONSUMERS)


def obj(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "additionalProperties": False}


TEXT, INT = {"type": "string"}, {"type": "integer"}
TREE = {"type": "object", "properties": {"next": {"anyOf": [{"type": "null"}, {"$ref": "#"}]}}}


@pytest.mark.parametrize(
    ("old", "new", "producers", "consumers"),
    [
        (obj(a=TEXT), obj(a=TEXT) | {"title": "new"}, YES, YES),
        (obj(a=TEXT), obj(a=TEXT, b=TEXT), YES, NO),
        (obj(a=TEXT, b=TEXT), obj(a=TEXT), NO, YES),
        (obj(a=TEXT), obj(a=TEXT) | {"required": ["a"]}, NO, YES),
        (obj(a=TEXT), obj(a=TEXT) | {"additionalProperties": True}, YES, NO),
        (obj(a=TEXT), obj(a=TEXT) | {"additionalProperties": INT}, YES, NO),
        # In an open schema, old messages may have the property with another type.
        ({"properties": {"a": TEXT}}, {"properties": {"a": TEXT, "b": TEXT}}, MAYBE, YES),
        (INT, {"type": "number"}, YES, NO),
        (TEXT, {"type": ["string", "null"]}, YES, NO),
        (TEXT, INT, NO, NO),
        ({"enum": ["a"]}, {"enum": ["a", "b"]}, YES, NO),
        ({"enum": ["a", "b"]}, {"enum": ["b", "a"]}, YES, YES),
        ({"const": "a"}, TEXT, YES, NO),
        ({"enum": ["a", 1]}, TEXT, NO, NO),
        (TEXT | {"maxLength": 5}, TEXT | {"maxLength": 9}, YES, NO),
        (TEXT | {"minLength": 1}, TEXT | {"minLength": 2}, NO, YES),
        (INT | {"minimum": 1}, INT | {"exclusiveMinimum": 0}, YES, YES),
        ({"type": "number", "minimum": 1}, {"type": "number", "exclusiveMinimum": 0}, YES, NO),
        (INT | {"maximum": 3}, INT | {"exclusiveMaximum": 3}, NO, YES),
        (INT | {"multipleOf": 6}, INT | {"multipleOf": 3}, YES, NO),
        ({"multipleOf": 0.1}, {"multipleOf": 0.2}, MAYBE, MAYBE),
        (TEXT | {"pattern": "^a"}, TEXT | {"pattern": "^b"}, MAYBE, MAYBE),
        (TEXT | {"pattern": "^a"}, TEXT, YES, MAYBE),
        (INT | {"pattern": "^a"}, INT, YES, YES),
        (TEXT | {"format": "date"}, TEXT | {"format": "time"}, MAYBE, MAYBE),
        ({"items": INT}, {"items": {"type": "number"}}, YES, NO),
        ({"items": INT, "uniqueItems": True}, {"items": INT}, YES, NO),
        ({"prefixItems": [INT]}, {"prefixItems": [TEXT]}, MAYBE, MAYBE),
        ({"not": INT}, {"not": TEXT}, MAYBE, MAYBE),
        ({"anyOf": [TEXT, INT]}, {"type": ["integer", "string"]}, YES, MAYBE),
        ({"anyOf": [TEXT]}, {"anyOf": [INT, TEXT]}, YES, MAYBE),
        ({"oneOf": [TEXT]}, {"oneOf": [INT, TEXT]}, YES, MAYBE),
        ({"allOf": [TEXT, {"maxLength": 3}]}, TEXT | {"maxLength": 3}, YES, YES),
        ({"$ref": "#/$defs/a", "$defs": {"a": TEXT}}, TEXT, YES, YES),
        (TREE, TREE | {"title": "new"}, YES, YES),
        (TREE, TREE | {"required": ["next"]}, MAYBE, YES),
        ({"patternProperties": {"^x": INT}, "additionalProperties": False}, obj(), MAYBE, MAYBE),
        (
            {"allOf": [{"properties": {"a": {}}}], "unevaluatedProperties": False},
            {"allOf": [{"properties": {"b": {}}}], "unevaluatedProperties": False},
            MAYBE,
            MAYBE,
        ),
        (TEXT, {"oneOf": [TEXT, {"minLength": 0}]}, MAYBE, MAYBE),
        (
            {"anyOf": [{"required": ["a"]}, {"required": ["a", "b"]}], "properties": {"a": INT}},
            {"properties": {"a": TEXT}, "minProperties": 1},
            MAYBE,
            NO,
        ),
        ({"enum": ["a"], "$defs": {"b": {"$ref": "#"}}}, {"enum": ["a", "b"]}, YES, NO),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"enum": ["a"]}}}, {"enum": ["a"]}, YES, YES),
        ({"$anchor": "a", "properties": {"a": {"$ref": "#b"}}, "$defs": {"b": {"$anchor": "b"}}},
         {}, YES, MAYBE),
        ({"$schema": "http://json-schema.org/draft-04/schema#"} | TEXT, TEXT, MAYBE, MAYBE),
    ],
)  # fmt: skip
def test_change_has_the_verdict_of_the_rules(
    old: Any, new: Any, producers: Verdict, consumers: Verdict
) -> None:
    found = verdicts(old, new)
    assert found[1] is consumers, changes(old, new)
    if producers is MAYBE:
        assert found[0] is not YES
    else:
        assert found[0] is producers, changes(old, new)


def test_change_names_place_and_reason() -> None:
    old = obj(lines={"type": "array", "items": obj(sku=TEXT)})
    new = obj(lines={"type": "array", "items": obj(sku=INT) | {"required": ["sku"]}})
    (first, second, third) = changes(old, new)
    assert first.path == second.path == third.path == "/lines/*/sku"
    assert {first.sentence, second.sentence} == {
        "the property is required, and may be missing",
        "the type may be string",
    }
    assert (third.side, third.sentence) == (Side.CONSUMERS, "the type may be integer")


def test_number_of_changes_is_bounded() -> None:
    old, new = ({f"p{n}": each for n in range(50)} for each in (TEXT, INT))
    assert len(changes(obj(**old), obj(**new))) == 2 * MOST_CHANGES


def test_comparison_of_large_schemas_ends() -> None:
    layers: dict[str, Any] = {"d0": TEXT}
    for n in range(1, 12):
        layers[f"d{n}"] = {
            "properties": {name: {"anyOf": [{"$ref": f"#/$defs/d{n - 1}"}, INT]} for name in "abc"}
        }
    old = {"$ref": "#/$defs/d11", "$defs": layers}
    new = json.loads(json.dumps(old).replace('"string"', '"null"'))
    assert verdicts(old, new)[0] is not YES


# The verdicts of the real validator

SCALARS: list[Any] = [None, False, True, -1, 0, 1, 2, 3, 0.5, 1.0, "", "a", "b", "ab", "abc"]
LISTS = [[], *([each] for each in SCALARS), [1, 1], [0, 1], ["a", "b"], ["a", "a"], [[]], [{}]]
MEMBERS: list[Any] = [None, 1, 2, 0.5, "a", "abc", [], [1], {}, {"a": 1}, {"b": "a"}]


@cache
def corpus() -> tuple[Any, ...]:
    """Return many small values."""
    objects: list[Any] = [{}, {"c": 1}, {"c": "a"}, {"a": 1, "b": 1, "c": 1}]
    objects += [{name: each} for name, each in product("ab", MEMBERS)]
    objects += [{"a": one, "b": other} for one, other in product(MEMBERS, MEMBERS)]
    return (*SCALARS, *LISTS, *objects, *([each] for each in objects[:30]))


def keywords(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    small = st.integers(0, 3)
    names = st.sampled_from("ab")
    number = st.integers(-1, 3) | st.sampled_from([0.5, 1.0])
    types = st.sampled_from(["null", "boolean", "object", "array", "string", "integer", "number"])
    members = st.dictionaries(names, inner, max_size=2)
    some = st.lists(inner, min_size=1, max_size=2)
    optional = {
        "type": types | st.lists(types, min_size=1, max_size=3, unique=True),
        "enum": st.lists(st.sampled_from(SCALARS[3:]), min_size=1, max_size=3),
        "const": st.sampled_from([None, 1, "a", [], {}]),
        "required": st.lists(names, max_size=2, unique=True),
        "properties": members,
        "additionalProperties": inner | st.booleans(),
        "patternProperties": st.dictionaries(st.sampled_from(["^a", "b|c"]), inner, max_size=1),
        "items": inner,
        "prefixItems": some,
        "contains": inner,
        "uniqueItems": st.booleans(),
        **dict.fromkeys(["minLength", "maxLength", "minItems", "maxItems"], small),
        **dict.fromkeys(["minProperties", "maxProperties"], small),
        **dict.fromkeys(["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"], number),
        "multipleOf": st.sampled_from([1, 2, 3, 0.5]),
        "pattern": st.sampled_from(["^a", "b$"]),
        "anyOf": some,
        "oneOf": some,
        "allOf": some,
        "not": inner,
        "if": inner,
        "then": inner,
        "else": inner,
        "dependentRequired": st.just({"a": ["b"]}),
        "unevaluatedProperties": st.just(False),
        "$ref": st.sampled_from(["#/$defs/one", "#/$defs/two"]),
    }  # fmt: skip
    return st.lists(st.sampled_from(sorted(optional)), max_size=4, unique=True).flatmap(
        lambda chosen: st.fixed_dictionaries({name: optional[name] for name in chosen})
    )


subschemas = st.recursive(st.booleans() | keywords(st.just({})), keywords, max_leaves=6)
CALM = [HealthCheck.too_slow, HealthCheck.filter_too_much]


@st.composite
def roots(draw: st.DrawFn) -> dict[str, Any]:
    found = draw(keywords(subschemas))
    named = {"one": draw(keywords(st.just({"type": "string"}))), "two": {"items": {"$ref": "#"}}}
    return found | {"$defs": named}


@st.composite
def pairs(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, Any]]:
    """Draw two schemas, of which one is often the other with a further keyword."""
    old = draw(roots())
    if not draw(st.integers(0, 3)):
        return old, draw(roots())
    new = old | draw(keywords(subschemas))
    if draw(st.booleans()):
        old, new = ({"properties": {"a": each}, "$defs": each["$defs"]} for each in (old, new))
    return (old, new) if draw(st.booleans()) else (new, old)


@settings(more(5), suppress_health_check=CALM)
@given(pairs())
@example(
    (
        {"patternProperties": {"^a": {}}, "additionalProperties": False},
        {"additionalProperties": False},
    )
)
def test_no_valid_message_is_rejected_if_the_verdict_is_compatible(
    pair: tuple[Any, Any],
) -> None:
    texts = [read_schema(json.dumps(each)) for each in pair]
    if not all(isinstance(each, MessageSchemaText) for each in texts):
        return
    old, new = pair
    producers, consumers = verdicts(old, new)
    was, is_now = validator_for(old), validator_for(new)
    for value in corpus():
        if producers is YES and was.is_valid(value):
            assert is_now.is_valid(value), value
        if consumers is YES and is_now.is_valid(value):
            assert was.is_valid(value), value
