"""JSON Schemas of messages: canonical form, no fetching, bounded cost."""

import json
import subprocess
import sys
from bisect import bisect_left
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema_rs import RegexOptions, validator_for

from troth.resources.messaging.schemas import reading
from troth.resources.messaging.schemas.json_bounds import DEEPEST
from troth.resources.messaging.schemas.json_text import written
from troth.resources.messaging.schemas.schema_text import MOST_BYTES, SchemaFault

ORDER = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "$id": "https://shop.example/order",
    "type": "object",
    "required": ["id", "lines"],
    "properties": {
        "id": {"type": "string", "pattern": "^o-[0-9]{1,12}$"},
        "lines": {"type": "array", "items": {"$ref": "#/$defs/line"}, "maxItems": 100},
        "total": {"type": "number", "multipleOf": 0.01},
        "parts": {"type": "array", "items": {"$ref": "#"}},
        "$ref": {"type": "string"},
    },
    "$defs": {"line": {"type": "object", "properties": {"sku": {"type": "string"}}}},
    "unevaluatedProperties": False,
    "examples": [{"$ref": "https://elsewhere.example/this-is-no-reference"}],
}


def chained(count: int, **beside: Any) -> dict[str, Any]:
    """Definitions of which each says what the one before says, and something beside."""
    named = {f"d{n}": {"$ref": f"#/$defs/d{n - 1}"} | beside for n in range(1, count)}
    return {"$ref": f"#/$defs/d{count - 1}", "$defs": {"d0": {"type": "string"}} | named}


def doubled(count: int) -> dict[str, Any]:
    """Definitions of which each says twice what the one before says."""
    schema = chained(count)
    for n in range(1, count):
        schema["$defs"][f"d{n}"] = {"allOf": [{"$ref": f"#/$defs/d{n - 1}"}] * 2}
    return schema | {"unevaluatedProperties": False}


def nested(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {}
    for _ in range(levels - 1):
        schema = {"not": schema}
    return schema


def read_schema(text: str) -> str | SchemaFault:
    found = reading.read_schema(text)
    return found if isinstance(found, SchemaFault) else found.text


def read(schema: Any) -> str | SchemaFault:
    return read_schema(json.dumps(schema))


def reason(schema: Any) -> str:
    found = read(schema)
    assert isinstance(found, SchemaFault), found
    assert len(found.message) < 600
    return found.reason


def test_schema_is_returned_complete_and_in_canonical_form() -> None:
    shuffled = json.dumps(dict(reversed(ORDER.items())), indent=3)
    standard = read_schema(shuffled)
    assert standard == read(ORDER)
    assert isinstance(standard, str)
    assert json.loads(standard) == ORDER
    assert read_schema(standard) == standard
    assert read_schema(written(ORDER)) == standard


def test_canonical_schema_validates_messages() -> None:
    standard = read(ORDER)
    assert isinstance(standard, str)
    judge = validator_for(standard, offline=True, pattern_options=RegexOptions())
    assert judge.is_valid({"id": "o-7", "lines": [{"sku": "a"}], "total": 0.3})
    assert not judge.is_valid({"id": "7", "lines": []})
    assert not judge.is_valid({"id": "o-7", "lines": [], "surplus": 1})


@pytest.mark.parametrize(
    "draft",
    [
        "https://json-schema.org/draft/2019-09/schema",
        "http://json-schema.org/draft-07/schema#",
        "http://json-schema.org/draft-06/schema#",
        "http://json-schema.org/draft-04/schema#",
    ],
)
def test_every_published_draft_is_supported(draft: str) -> None:
    schema = {
        "$schema": draft,
        "properties": {"a": {"$ref": "#/definitions/a"}},
        "definitions": {"a": {"type": "string"}},
    }
    assert isinstance(read(schema), str)


def test_draft_determines_the_meaning_of_a_schema() -> None:
    exclusive = {"minimum": 1, "exclusiveMinimum": True}
    assert reason(exclusive) == "SchemaInvalid"
    assert isinstance(read(exclusive | {"$schema": "http://json-schema.org/draft-04/schema#"}), str)


@pytest.mark.parametrize(
    "reference",
    ["http://127.0.0.1:9/x", "https://a.example/b#/c", "file:///etc/hostname", "other.json", ""],
)
@pytest.mark.parametrize(
    "around",
    [
        lambda it: it,
        lambda it: {"properties": {"a": it}},
        lambda it: {"properties": {"default": it}},
        lambda it: {"$defs": {"unused": it}},
        lambda it: {"items": [it], "$schema": "http://json-schema.org/draft-07/schema#"},
        lambda it: {"$ref": "#/const/a", "const": {"a": {"not": it}}},
    ],
)
@pytest.mark.parametrize("keyword", ["$ref", "$dynamicRef", "$recursiveRef"])
def test_reference_to_another_document_is_rejected(
    reference: str, around: Any, keyword: str
) -> None:
    assert reason(around({keyword: reference})) == "SchemaRefersElsewhere"


def test_nested_schema_with_an_id_is_rejected() -> None:
    within = {"$ref": "#/$defs/a", "$defs": {"a": {"$id": "https://a.example/a"}}}
    assert reason(within) == "SchemaRefersElsewhere"
    assert isinstance(read({"properties": {"$id": {"type": "string"}}}), str)
    assert isinstance(read({"properties": {"a": {"id": "an annotation"}}}), str)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "strnig"},
        {"properties": [1]},
        {"$ref": "#/$defs/missing"},
        {"$ref": "#missing"},
        {"$ref": "#"},
        {"$defs": {"a": {"not": {"$ref": "#/$defs/a"}}}},
        {"$schema": "https://a.example/my-draft"},
        {"$schema": 7},
        {"$id": "::::"},
        {"pattern": "("},
        {"patternProperties": {"(?=a)b": {}}},
        {"pattern": r"(a)\1"},
        {"pattern": "(?:a{1000}){1000}"},
        True,
        ["type"],
        None,
    ],
)
def test_invalid_schema_is_rejected(schema: Any) -> None:
    assert reason(schema) == "SchemaInvalid"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "type: object",
        '{"type": "string", "type": "object"}',
        '{"maximum": NaN}',
        '{"maximum": 1e999}',
        '{"const": "\\ud800"}',
        '{"const": "\ud800"}',
        '{"const": ' + "1" * 5000 + "}",
    ],
)
def test_ambiguous_schema_is_rejected(text: str) -> None:
    found = read_schema(text)
    assert isinstance(found, SchemaFault)
    assert found.reason == "SchemaInvalid"


def test_message_names_place_and_fault() -> None:
    found = read({"properties": {"a": {"type": "strnig"}}})
    assert isinstance(found, SchemaFault)
    assert "/properties/a/type" in found.message
    assert "strnig" in found.message
    found = read_schema('{\n"type": string\n}')
    assert isinstance(found, SchemaFault)
    assert "line 2" in found.message
    found = read({"$schema": "https://a.example/my-draft"})
    assert isinstance(found, SchemaFault)
    assert "write https://json-schema.org/draft/2020-12/schema" in found.message
    found = read({"properties": {"a": {"pattern": "(?=a)"}}})
    assert isinstance(found, SchemaFault)
    assert "look-around" in found.message


def test_schema_size_is_bounded() -> None:
    room = MOST_BYTES - len('{"$comment":""}')
    assert isinstance(read_schema('{"$comment":"%s"}' % ("a" * room)), str)
    assert reason({"$comment": "a" * (room + 1)}) == "SchemaTooLarge"
    assert reason({"$comment": "é" * (room // 2 + 1)}) == "SchemaTooLarge"


def test_schema_depth_is_bounded() -> None:
    assert isinstance(read(nested(DEEPEST)), str)
    assert reason(nested(DEEPEST + 1)) == "SchemaTooLarge"
    assert read_schema("[" * 30_000).__class__ is SchemaFault
    assert read_schema('{"not":' * 9_000 + "{}" + "}" * 9_000).__class__ is SchemaFault


@pytest.mark.parametrize(
    "schema",
    [
        chained(1000, unevaluatedProperties=False),
        doubled(40),
        {"$defs": doubled(40)["$defs"]},
        {"anyOf": [{"pattern": f"^{n}$"} for n in range(250)]},
        {"allOf": [{"$ref": "#a"}] * 800, "$defs": {str(n): {"$anchor": "a"} for n in range(800)}},
    ],
    ids=["a chain", "doubling", "unused", "expressions", "one name for many"],
)
def test_schema_that_is_costly_to_compile_is_too_large(schema: Any) -> None:
    assert reason(schema) == "SchemaTooLarge"


SHAPES: dict[str, Callable[[int], dict[str, Any]]] = {
    "chain": lambda size: chained(size, unevaluatedProperties=False),
    "doubling": doubled,
    "expressions": lambda size: {
        "anyOf": [{"pattern": r"^\p{L}{8}" + str(n)} for n in range(size)]
    },
    "nested": lambda size: nested(size) | {"unevaluatedProperties": False},
}


def most_of(shape: str) -> dict[str, Any]:
    """The most that is let through of a shape."""
    refused = range(2, 300)
    size = bisect_left(
        refused, 1, key=lambda size: isinstance(read(SHAPES[shape](size)), SchemaFault)
    )
    return SHAPES[shape](refused[size] - 1)


@pytest.mark.parametrize("shape", SHAPES)
def test_largest_accepted_schema_is_compiled_quickly(shape: str) -> None:
    """In a process of its own: what does not end, or ends the process, is seen as that."""
    program = (
        "import sys; from troth.resources.messaging.schemas.json_schema import read; "
        "assert isinstance(read(sys.stdin.read()), str)"
    )
    schema = most_of(shape)
    subprocess.run(
        [sys.executable, "-c", program], input=json.dumps(schema), text=True, check=True, timeout=30
    )


KEYWORDS = [
    "type",
    "not",
    "$ref",
    "allOf",
    "properties",
    "items",
    "pattern",
    "enum",
    "$defs",
    "minimum",
    "dependencies",
    "if",
    "$id",
    "$anchor",
    "format",
    "const",
    "required",
]
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8) | st.sampled_from(["#", "#/$defs/a", "string", "object", "^a$"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from([*KEYWORDS, "a"]), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(anything)
def test_any_text_gives_a_schema_or_a_fault(drawn: Any) -> None:
    found = read(drawn)
    if isinstance(found, SchemaFault):
        assert found.reason in {"SchemaInvalid", "SchemaTooLarge", "SchemaRefersElsewhere"}
        assert found.message
    else:
        assert read_schema(found) == found
        assert json.loads(found) == drawn
