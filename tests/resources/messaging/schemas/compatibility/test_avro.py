"""Comparison of Avro schemas, compared with fastavro's resolving reader."""

import json
from io import BytesIO
from typing import Any

import pytest
from fastavro import parse_schema, schemaless_reader, schemaless_writer
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.avro_schemas import records, values
from tests.strategies import more
from troth.resources.messaging.schemas.compatibility.changes import Change, Side, Verdict, verdict
from troth.resources.messaging.schemas.compatibility.compare import changes_between
from troth.resources.messaging.schemas.reading import read_schema
from troth.resources.messaging.schemas.schema_text import MessageSchemaText, SchemaType

YES, NO, MAYBE = Verdict.COMPATIBLE, Verdict.INCOMPATIBLE, Verdict.UNDECIDED


def read(schema: Any) -> MessageSchemaText:
    found = read_schema(json.dumps(schema), SchemaType.AVRO)
    assert isinstance(found, MessageSchemaText), found
    return found


def changes(old: Any, new: Any) -> tuple[Change, ...]:
    return changes_between(read(old), read(new))


def of(*types: Any, **more: Any) -> dict[str, Any]:
    """A record with a field a, b, … of each type; fields with a name in `more` have its default."""
    fields = [{"name": name, "type": each} for name, each in zip("abcd", types, strict=False)]
    for each in fields:
        if each["name"] in more:
            each["default"] = more[each["name"]]
    return {"type": "record", "name": "shop.Order", "fields": fields}


def enum(*symbols: str, **more: Any) -> dict[str, Any]:
    return {"type": "enum", "name": "State", "symbols": list(symbols)} | more


def fixed(size: int, **more: Any) -> dict[str, Any]:
    return {"type": "fixed", "name": "F", "size": size} | more


def decimal(precision: int) -> dict[str, Any]:
    return {"type": "bytes", "logicalType": "decimal", "precision": precision}


TREE = of(["null", "Order"])


@pytest.mark.parametrize(
    ("old", "new", "producers", "consumers"),
    [
        (of("int"), of("int") | {"doc": "new"}, YES, YES),
        (of("int"), of("int", "int"), NO, YES),
        (of("int"), of("int", "int", b=7), YES, YES),
        (of("int", "int"), of("int"), YES, NO),
        (of("int", "int", b=7), of("int"), YES, YES),
        (of("int"), of("long"), YES, NO),
        (of("int"), of("double"), YES, NO),
        (of("int"), of("string"), NO, NO),
        (of("string"), of("bytes"), YES, MAYBE),
        (of("int"), of(["null", "int"]), YES, NO),
        (of(["null", "int"]), of(["int", "null"]), YES, YES),
        (of(["null", "int"]), of(["null", "int", "string"]), YES, NO),
        (of(enum("A")), of(enum("A", "B")), YES, NO),
        (of(enum("A", default="A")), of(enum("A", "B", default="A")), YES, YES),
        (of(enum("A", "B")), of(enum("B", "A")), YES, YES),
        (of(fixed(2)), of(fixed(3)), NO, NO),
        (of({"type": "array", "items": "int"}), of({"type": "array", "items": "long"}), YES, NO),
        (of({"type": "map", "values": "int"}), of({"type": "array", "items": "int"}), NO, NO),
        (of(decimal(4)), of(decimal(5)), MAYBE, MAYBE),
        (of("long"), of({"type": "long", "logicalType": "timestamp-micros"}), MAYBE, MAYBE),
        (of("int"), of("int") | {"name": "other.Order"}, YES, YES),
        (of("int"), of("int") | {"name": "shop.Bill"}, NO, NO),
        (of("int"), of("int") | {"name": "shop.Bill", "aliases": ["Order"]}, YES, NO),
        (TREE, TREE | {"doc": "new"}, YES, YES),
        (TREE, of(["null", "Order", "int"]), YES, NO),
    ],
)
def test_change_has_the_verdict_of_the_rules(
    old: Any, new: Any, producers: Verdict, consumers: Verdict
) -> None:
    found = changes(old, new)
    sides = verdict(found, Side.PRODUCERS), verdict(found, Side.CONSUMERS)
    assert sides == (producers, consumers), found


def test_field_that_is_renamed_with_an_alias_is_read_by_its_old_name() -> None:
    new = of("int")
    new["fields"] = [{"name": "z", "aliases": ["a"], "type": "int", "default": 0}]
    found = changes(of("int"), new)
    assert verdict(found, Side.PRODUCERS) is YES
    assert verdict(found, Side.CONSUMERS) is NO


def test_change_names_place_and_reason() -> None:
    line = {"type": "record", "name": "Line", "fields": [{"name": "sku", "type": "string"}]}
    other = {"type": "record", "name": "Line", "fields": [{"name": "sku", "type": "int"}]}
    first, second = changes(
        of({"type": "array", "items": line}), of({"type": "array", "items": other})
    )
    assert (first.side, first.path, first.sentence) == (
        Side.PRODUCERS,
        "/a/*/sku",
        "string is not int",
    )
    assert (second.side, second.sentence) == (Side.CONSUMERS, "int is not string")


@st.composite
def pairs(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, Any]]:
    """Draw two records, of which the second is often made of parts of the first."""
    old, new = draw(records()), draw(records())
    if draw(st.booleans()):
        fields = {each["name"]: each for each in new["fields"]}
        kept = [each for each in old["fields"] if draw(st.booleans())]
        fields |= {each["name"]: each for each in kept}
        new = new | {"fields": list(fields.values())}
    return old, new


@more(4)
@given(pairs(), st.data())
def test_every_message_is_resolved_if_the_verdict_is_compatible(
    pair: tuple[Any, Any], data: st.DataObject
) -> None:
    old, new = pair
    found = changes(old, new)
    for side, (writer, reader) in zip(Side, (pair, pair[::-1]), strict=True):
        if verdict(found, side) is not YES:
            continue
        file = BytesIO()
        written = parse_schema(writer)
        schemaless_writer(file, written, data.draw(values(writer)))
        file.seek(0)
        schemaless_reader(file, written, parse_schema(reader))


@more(4)
@given(records(), st.data())
def test_a_message_that_is_not_resolved_has_a_change(
    old: dict[str, Any], data: st.DataObject
) -> None:
    new = data.draw(records())
    file = BytesIO()
    written = parse_schema(old)
    schemaless_writer(file, written, data.draw(values(old)))
    file.seek(0)
    try:
        schemaless_reader(file, written, parse_schema(new))
    except Exception:  # noqa: BLE001 - whatever it raises, it does not read the message
        assert verdict(changes(old, new), Side.PRODUCERS) is not YES
    else:
        assume(False)
