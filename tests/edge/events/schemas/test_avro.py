"""Validation of data in Avro's binary encoding: strict, bounded, with the values of fastavro."""

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from io import BytesIO
from typing import Any

import pytest
from fastavro import parse_schema, schemaless_reader, schemaless_writer
from hypothesis import example, given
from hypothesis import strategies as st

from tests.avro_schemas import schema_and_value
from troth.edge.events.schemas.compiled import compile as compiled
from troth.edge.events.schemas.validator import DEEPEST, MOST_BYTES, MOST_VALUES, Checked

ORDER: dict[str, Any] = {
    "type": "record",
    "name": "Order",
    "fields": [
        {"name": "id", "type": "string"},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "due", "type": {"type": "int", "logicalType": "date"}},
        {
            "name": "price",
            "type": {"type": "bytes", "logicalType": "decimal", "precision": 6, "scale": 2},
        },
        {"name": "state", "type": {"type": "enum", "name": "State", "symbols": ["NEW", "PAID"]}},
        {"name": "tags", "type": {"type": "map", "values": ["null", "boolean"]}},
    ],
}
VALUE = {
    "id": "o-7",
    "at": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    "due": date(2026, 2, 3),
    "price": Decimal("12.50"),
    "state": "PAID",
    "tags": {"new": True, "old": None},
}
LIST = {
    "type": "record",
    "name": "Item",
    "fields": [{"name": "next", "type": ["null", "Item"]}],
}
DEEP_LIST = {"type": "record", "name": "List", "fields": [{"name": "first", "type": LIST}]}


def encoded(schema: Any, value: Any) -> bytes:
    file = BytesIO()
    schemaless_writer(file, parse_schema(schema), value)
    return file.getvalue()


def check(data: bytes, schema: Any = ORDER) -> Checked:
    return compiled("Avro", json.dumps(schema)).check(data)


def fault(data: bytes, schema: Any = ORDER) -> str:
    found = check(data, schema)
    assert found.payload is None
    assert found.fault is not None
    return found.fault


def of(type_: Any) -> dict[str, Any]:
    return {"type": "record", "name": "A", "fields": [{"name": "a", "type": type_}]}


def number(value: int) -> bytes:
    return encoded({"type": "long"}, value)


def test_valid_data_is_returned_with_logical_types() -> None:
    assert check(encoded(ORDER, VALUE)) == Checked(VALUE)


def test_data_that_ends_early_or_late_is_rejected() -> None:
    data = encoded(ORDER, VALUE)
    for length in range(len(data)):
        assert fault(data[:length])
    assert fault(data + b"\x00") == "the data continues after the value"


UUID = {"type": "string", "logicalType": "uuid"}
TIME = {"type": "int", "logicalType": "time-millis"}
STAMP = {"type": "long", "logicalType": "timestamp-micros"}


@pytest.mark.parametrize(
    ("type_", "data", "words"),
    [
        ("boolean", b"\x02", "at /a: the data has neither true nor false"),
        ("int", number(2**31), "at /a: a number is outside the range"),
        ("long", b"\xff" * 9 + b"\x02", "a number is longer"),
        ("long", b"\xff" * 20, "a number is longer than 64 bits"),
        ("long", b"\x80\x00", "a number is longer than it needs to be"),
        ("string", number(-1), "at /a: a length is negative"),
        ("string", number(2**62), "the data ends within a value"),
        ("string", b"\x02\xff", "a text is not UTF-8"),
        ("double", b"\x00" * 7, "the data ends within a value"),
        ({"type": "fixed", "name": "F", "size": 9}, b"\x00" * 8, "the data ends within a value"),
        # Python's lists, and so fastavro, take -1 as the last one.
        ({"type": "enum", "name": "E", "symbols": ["A", "B"]}, number(-1), "no symbol"),
        ({"type": "enum", "name": "E", "symbols": ["A", "B"]}, number(2), "no symbol"),
        (["null", "int"], number(-1), "at /a: the union has no branch"),
        (["null", "int"], number(2), "at /a: the union has no branch"),
        ({"type": "array", "items": "boolean"}, b"\x04\x01\x02", "at /a/1: the data has neither"),
        ({"type": "array", "items": "int"}, b"\x01\x04\x02\x00", "a block has another size"),
        ({"type": "map", "values": "boolean"}, b"\x02\x02x\x07\x00", "at /a/*: the data has nei"),
        (ORDER["fields"][3]["type"], b"\x00", "at /a: a decimal is empty"),
        (ORDER["fields"][3]["type"], b"\x06\x0f\x42\x40", "more digits than its precision"),
        (ORDER["fields"][3]["type"], b"\x0e" + b"\x00" * 7, "longer than its precision"),
        (TIME, number(86_400_000), "outside the range"),
        (STAMP, number(2**62), "outside the range"),
        (UUID, b"\x02a", "none of its logical type"),
    ],
)
def test_data_that_no_writer_writes_is_rejected(type_: Any, data: bytes, words: str) -> None:
    assert words in fault(data, of(type_))


def test_array_in_blocks_with_sizes_is_accepted() -> None:
    data = b"\x01\x02\x04" + b"\x02\x06" + b"\x00"
    assert check(data, of({"type": "array", "items": "int"})).payload == {"a": [2, 3]}


def test_few_bytes_cannot_become_many_values() -> None:
    nulls = {"type": "array", "items": "null"}
    assert check(number(MOST_VALUES) + b"\x00", nulls).fault is None
    assert "more than 250000 values" in fault(number(2**62) + b"\x00", nulls)
    assert "more than 250000 values" in fault((number(200_000)) * 2 + b"\x00", nulls)
    wide = of("null") | {"fields": [{"name": f"f{n}", "type": "null"} for n in range(1000)]}
    assert "more than 250000" in fault(number(251) + b"\x00", {"type": "array", "items": wide})


def test_depth_is_bounded() -> None:
    assert check(b"\x02" * (DEEPEST - 1) + b"\x00", LIST).fault is None
    assert f"deeper than {DEEPEST} levels" in fault(b"\x02" * DEEPEST + b"\x00", LIST)
    assert f"deeper than {DEEPEST} levels" in fault(b"\x02" * 2_000_000, DEEP_LIST)


def test_size_is_bounded() -> None:
    assert "larger than 4 MiB" in fault(b"\x00" * (MOST_BYTES + 1))


def test_fault_quotes_nothing_of_the_data() -> None:
    schema = of({"type": "map", "values": "boolean"})
    data = encoded(of({"type": "map", "values": "int"}), {"a": {"a-secret": 7}})
    assert "a-secret" not in fault(data, schema)


@given(st.binary(max_size=60))
@example(b"\x00" * 30)
def test_any_bytes_give_a_payload_or_a_fault(data: bytes) -> None:
    for schema in (ORDER, DEEP_LIST, of("string"), of(["null", "double"])):
        found = check(data, schema)
        assert (found.fault is None) is (found.payload is not None)


@given(schema_and_value())
def test_what_fastavro_writes_is_accepted_as_what_it_reads(drawn: tuple[Any, Any]) -> None:
    schema, value = drawn
    data = encoded(schema, value)
    found = check(data, schema)
    assert found.fault is None
    assert found.payload == schemaless_reader(BytesIO(data), parse_schema(schema), None)


@given(schema_and_value(), st.data())
def test_changed_data_gives_no_other_error_than_a_fault(
    drawn: tuple[Any, Any], data: st.DataObject
) -> None:
    schema, value = drawn
    raw = bytearray(encoded(schema, value))
    if raw:
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    check(bytes(raw), schema)
