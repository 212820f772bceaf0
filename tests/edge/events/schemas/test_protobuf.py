"""Validation of data in Protobuf's wire format: strict and bounded."""

from contextlib import nullcontext

import pytest
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from hypothesis import given
from hypothesis import strategies as st

from tests.descriptor_sets import ORDER, descriptor_set, field, file, message, with_map
from troth.edge.events.schemas.compiled import compile as compiled
from troth.edge.events.schemas.protobuf import ProtobufValidator
from troth.edge.events.schemas.protobuf_scan import ScanError
from troth.edge.events.schemas.validator import MOST_BYTES, MOST_VALUES, Checked

OLD_SYNTAX = file(
    with_map(
        message("Order", "required string id = 1", ".shop.Order other = 2"),
        "stock",
        3,
        full="shop.Order",
    ),
    syntax="proto2",
)


def validator(schema: FileDescriptorProto) -> ProtobufValidator:
    found = compiled("Protobuf", descriptor_set(schema), "shop.Order")
    assert isinstance(found, ProtobufValidator)
    return found


def check(data: bytes, schema: FileDescriptorProto = ORDER) -> Checked:
    return validator(schema).check(data)


def fault(data: bytes, schema: FileDescriptorProto = ORDER) -> str:
    found = check(data, schema)
    assert found.payload is None
    assert found.fault is not None
    return found.fault


def framed(tag: int, data: bytes) -> bytes:
    size, length = bytearray(), len(data)
    while length > 0x7F:
        size.append(length & 0x7F | 0x80)
        length >>= 7
    return bytes([tag]) + bytes(size) + bytes([length]) + data


def test_valid_data_is_returned_as_message() -> None:
    found = check(b"\x0a\x03o-7\x10\x02\x32\x05\x0a\x01a\x10\x07\x22\x02\x08\x05")
    assert found.fault is None
    assert found.payload.id == "o-7"
    assert found.payload.stock == {"a": 7}
    assert found.payload.placed.seconds == 5


UNKNOWN = b"\x78\x01"
"""Field 15 with the number 1."""


@pytest.mark.parametrize(
    ("schema", "data"),
    [
        (ORDER, UNKNOWN),
        (ORDER, framed(0x1A, UNKNOWN)),
        (ORDER, framed(0x1A, framed(0x12, UNKNOWN))),
        (OLD_SYNTAX, framed(0x0A, b"a") + UNKNOWN),
        (OLD_SYNTAX, framed(0x0A, b"a") + framed(0x1A, framed(0x0A, b"k") + UNKNOWN)),
        (ORDER, b"\x08\x01"),  # a field with the wire type of another
    ],
)
def test_field_that_the_schema_does_not_have_is_rejected(
    schema: FileDescriptorProto, data: bytes
) -> None:
    assert "a field that its schema does not have" in fault(data, schema)


def test_missing_required_field_is_rejected() -> None:
    assert "not all required fields" in fault(b"", OLD_SYNTAX)
    assert "not all required fields" in fault(framed(0x0A, b"a") + framed(0x12, b""), OLD_SYNTAX)
    assert check(framed(0x0A, b"a"), OLD_SYNTAX).fault is None


@pytest.mark.parametrize(
    "data",
    [b"\x0a", b"\x0a\x05a", b"\x00\x01", b"\x0a\x01\xff", b"\xff" * 11, b"\x0b", b"\x0c"],
)
def test_malformed_data_is_rejected(data: bytes) -> None:
    assert "is not a message" in fault(data)


def test_depth_is_bounded() -> None:
    data = b""
    for _ in range(200):
        data = framed(0x1A, framed(0x12, data))
    assert "nested too deeply" in fault(data)


@pytest.mark.parametrize("levels", [99, 100, 101, 1_000])
def test_scan_and_library_allow_the_same_depth(levels: int) -> None:
    data = b""
    for level in range(levels, 0, -1):
        data = framed(0x1A if level % 2 else 0x12, data)
    checks = validator(ORDER)
    assert (checks.check(data).fault is None) is (levels <= 100)
    with nullcontext() if levels <= 100 else pytest.raises(ScanError, match="too deeply"):
        checks._scan.count(data)


def test_size_is_bounded() -> None:
    assert "larger than 4 MiB" in fault(b"\x00" * (MOST_BYTES + 1))
    assert check(framed(0x0A, b"a" * (MOST_BYTES - 8))).fault is None


WIDE = file(
    message("Order", "repeated .shop.Line lines = 1", "repeated int64 numbers = 2"),
    message("Line", *(f"string s{number} = {number}" for number in range(1, 100))),
)


@pytest.mark.parametrize(
    ("piece", "most"),
    [
        (framed(0x0A, b""), MOST_VALUES // 100),  # a field, and 99 of an empty message
        (framed(0x0A, framed(0x0A, b"x")), MOST_VALUES // 101),
        (b"\x10\x01", MOST_VALUES),
        (framed(0x12, b"\x01" * 99), MOST_VALUES // 100),
        (framed(0x12, b"\x80\x01" * 99), MOST_VALUES // 100),
    ],
)
def test_number_of_values_is_bounded(piece: bytes, most: int) -> None:
    assert check(piece * most, WIDE).fault is None
    assert fault(piece * (most + 1), WIDE) == f"the data has more than {MOST_VALUES} values"


GROUP = field("optional .shop.Order other = 1")
GROUP.type = FieldDescriptorProto.TYPE_GROUP
GROUPED = descriptor_set(
    FileDescriptorProto(
        name="shop.proto",
        package="shop",
        message_type=[
            message(
                "Order",
                GROUP,
                "repeated fixed32 sizes = 2",
                "optional double price = 3",
            )
        ],
    )
)


@given(
    st.binary(max_size=40) | st.text("\x08\x0a\x0b\x0c\x12\x15\x19\x1a\x00\x01\x02").map(str.encode)
)
def test_scan_rejects_no_data_that_the_library_accepts(data: bytes) -> None:
    for each in (
        validator(ORDER),
        validator(OLD_SYNTAX),
        compiled("Protobuf", GROUPED, "shop.Order"),
    ):
        assert isinstance(each, ProtobufValidator)
        if each.check(data).fault is None:
            each._scan.count(data)


@given(st.binary(max_size=60))
def test_any_bytes_give_a_payload_or_a_fault(data: bytes) -> None:
    for schema in (ORDER, OLD_SYNTAX):
        found = check(data, schema)
        assert (found.fault is None) is (found.payload is not None)


@given(st.text(), st.integers(-(2**31), 2**31 - 1), st.lists(st.text(), max_size=3))
def test_what_the_library_writes_is_accepted(key: str, quantity: int, articles: list[str]) -> None:
    made = validator(ORDER).message_class(id=key, quantity=quantity)
    for each in articles:
        made.lines.add(sku=each)  # type: ignore[attr-defined]
    assert check(made.SerializeToString()) == Checked(made)
