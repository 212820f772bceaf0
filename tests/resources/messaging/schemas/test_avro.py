"""Avro schemas of messages: canonical form, no fetching, bounded, no lenience."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from troth.resources.messaging.schemas.avro import DEEPEST, MOST_NAMED
from troth.resources.messaging.schemas.reading import read_schema
from troth.resources.messaging.schemas.schema_text import (
    MOST_BYTES,
    MessageSchemaText,
    SchemaFault,
    SchemaType,
)

ORDER: dict[str, Any] = {
    "type": "record",
    "name": "Order",
    "namespace": "shop.v1",
    "doc": "An order.",
    "fields": [
        {"name": "id", "type": "string", "aliases": ["key"]},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "note", "type": ["null", "string"], "default": None},
        {"name": "state", "type": {"type": "enum", "name": "State", "symbols": ["NEW", "PAID"]}},
        {"name": "was", "type": "State", "default": "NEW"},
        {"name": "sum", "type": {"type": "fixed", "name": "other.Sum", "size": 16}},
        {
            "name": "price",
            "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2},
        },
        {"name": "lines", "type": {"type": "array", "items": ["null", "Order"]}, "default": []},
        {"name": "tags", "type": {"type": "map", "values": "other.Sum"}},
    ],
}


def read(schema: Any) -> MessageSchemaText | SchemaFault:
    return read_schema(json.dumps(schema), SchemaType.AVRO)


def fault(schema: Any) -> SchemaFault:
    found = read(schema)
    assert isinstance(found, SchemaFault), found
    assert len(found.message) < 600
    return found


def record(*fields: Any, **more: Any) -> dict[str, Any]:
    return {"type": "record", "name": "A", "fields": list(fields)} | more


def of(type_: Any, **more: Any) -> dict[str, Any]:
    """A record with one field of a type."""
    return record({"name": "a", "type": type_} | more)


def nested(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(levels - 1):
        schema = {"type": "array", "items": schema}
    return schema


def test_schema_is_returned_complete_and_in_canonical_form() -> None:
    found = read(ORDER)
    assert isinstance(found, MessageSchemaText)
    assert found == read(dict(reversed(ORDER.items())))
    assert json.loads(found.text) == ORDER
    assert found.text == json.dumps(ORDER, sort_keys=True, separators=(",", ":"))
    assert set(found.entry()) == {"type", "digest", "text"}


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "strnig"}, "type strnig is not defined"),
        ({}, "write the name of a type"),
        ({"type": {"type": "string"}}, "write the name of a type"),
        ({"type": "array"}, "at /items: write a type"),
        ({"type": "record", "name": "A"}, "at /fields: write the list"),
        (record(7), "at /fields/0: write a field"),
        (record({"type": "int"}), "at /fields/0/name: write a name"),
        (record({"name": "a-b", "type": "int"}), "at /fields/0/name: write a name"),
        (record({"name": "a"}), "at /fields/0/type: write a type"),
        (record({"name": "a", "type": "int"}, {"name": "a", "type": "int"}), "a is used twice"),
        (of("Other"), "at /fields/0/type: type Other is not defined"),
        (of("A"), "record A contains itself without end"),
        (of([]), "a union is empty"),
        (of(["int", {"type": "int"}]), "the union has int twice"),
        (of([["int"], "null"]), "a union is directly in a union"),
        (of("int", default="1"), "at /fields/0/default: the default is not a value"),
        (of("int", default=True), "the default is not a value"),
        (of("int", default=2**31), "the default is not a value"),
        (of("bytes", default="\u0100"), "the default is not a value"),
        (of({"type": "enum", "name": "E", "symbols": []}), "at least one symbol"),
        (of({"type": "enum", "name": "E", "symbols": ["A", "A"]}), "each once"),
        (of({"type": "enum", "name": "E", "symbols": ["a b"]}), "list of names"),
        (of({"type": "enum", "name": "E", "symbols": ["A"], "default": "B"}), "none of the sy"),
        (of({"type": "fixed", "name": "F", "size": -1}), "write a number of bytes"),
        (of({"type": "fixed", "name": "F", "size": True}), "write a number of bytes"),
        (of({"type": "fixed", "name": "A", "size": 1}), "type A is defined twice"),
        (of({"type": "fixed", "name": "int", "size": 1}), "type int is defined twice"),
        (of({"type": "bytes", "logicalType": "decimal"}), "number of digits"),
        (of({"type": "bytes", "logicalType": "decimal", "precision": 10**9}), "number of digits"),
        (
            of({"type": "bytes", "logicalType": "decimal", "precision": 2, "scale": 3}),
            "between 0 and the precision",
        ),
        (
            of({"type": "fixed", "name": "F", "size": 1, "logicalType": "decimal", "precision": 3}),
            "1 bytes are too few for 3 digits",
        ),
        (record(name="a b"), "at /name: write a name"),
        (record(namespace="a..b"), "at /namespace: write names"),
        (record(aliases=["a b"]), "at /aliases: write a list"),
        ({"type": "error", "name": "E", "fields": []}, "type error is not defined"),
        # With this member, fastavro takes a schema as parsed already.
        ({"type": "record", "name": "A", "__fastavro_parsed": True}, "reserves such names"),
        (["string"], "not a JSON object"),
    ],
)
def test_invalid_schema_is_rejected(schema: Any, words: str) -> None:
    found = fault(schema)
    assert found.reason == "SchemaInvalid"
    assert words in found.message


def test_size_is_bounded() -> None:
    assert fault(of("string") | {"doc": "a" * MOST_BYTES}).reason == "SchemaTooLarge"
    assert isinstance(read(nested(DEEPEST)), MessageSchemaText)
    assert fault(nested(DEEPEST + 1)).reason == "SchemaTooLarge"
    fixed = [
        {"name": f"f{n}", "type": {"type": "fixed", "name": f"F{n}", "size": 1}}
        for n in range(MOST_NAMED)
    ]
    assert isinstance(read(record(*fixed[:-1])), MessageSchemaText)
    assert fault(record(*fixed)).reason == "SchemaTooLarge"


KEYS = ["type", "name", "fields", "items", "values", "symbols", "size", "default", "namespace"]
WORDS = ["record", "enum", "fixed", "array", "map", "string", "int", "null", "A", "a.b"]
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4) | st.sampled_from(WORDS),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=5)
    ),
    max_leaves=14,
)


@given(anything)
def test_any_text_gives_a_schema_or_a_fault(drawn: Any) -> None:
    for schema in (drawn, record({"name": "a", "type": drawn})):
        found = read(schema)
        if isinstance(found, SchemaFault):
            assert found.reason in {"SchemaInvalid", "SchemaTooLarge"}
        else:
            assert read_schema(found.text, SchemaType.AVRO) == found
