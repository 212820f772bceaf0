"""Protobuf schemas of messages: canonical form, no fetching, bounded."""

from base64 import b64decode, b64encode

import pytest
from google.protobuf import timestamp_pb2
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from hypothesis import example, given
from hypothesis import strategies as st

from tests.descriptor_sets import ORDER, descriptor_set, file, message
from troth.resources.messaging.schemas.protobuf import MOST_FILES, compiled
from troth.resources.messaging.schemas.reading import read_schema
from troth.resources.messaging.schemas.schema_text import (
    MOST_BYTES,
    MessageSchemaText,
    SchemaFault,
    SchemaType,
)

LINE = message("Line", "string sku = 1")


def read(*files: FileDescriptorProto, name: str = "shop.Order") -> MessageSchemaText | SchemaFault:
    return read_schema(descriptor_set(*files), SchemaType.PROTOBUF, name)


def text(*files: FileDescriptorProto, name: str = "shop.Order") -> str:
    found = read(*files, name=name)
    assert isinstance(found, MessageSchemaText), found
    return found.text


def fault(*files: FileDescriptorProto, name: str = "shop.Order") -> SchemaFault:
    found = read(*files, name=name)
    assert isinstance(found, SchemaFault)
    return found


def test_schema_is_returned_with_the_name_of_its_message() -> None:
    found = read(ORDER)
    assert isinstance(found, MessageSchemaText)
    assert found.message == "shop.Order"
    assert compiled(found.text, found.message).full_name == "shop.Order"
    assert found.entry()["message"] == "shop.Order"
    assert read_schema(found.text, SchemaType.PROTOBUF, "shop.Order") == found


def test_canonical_form_depends_on_the_schema_alone() -> None:
    lines = file(LINE, name="lines.proto")
    orders = file(
        message("Order", ".shop.Line line = 1"), name="orders.proto", imports=("lines.proto",)
    )
    commented = FileDescriptorProto.FromString(lines.SerializeToString())
    commented.source_code_info.location.add(leading_comments="a comment")
    timestamp = FileDescriptorProto.FromString(timestamp_pb2.DESCRIPTOR.serialized_pb)
    unneeded = file(message("Other"), name="other.proto")
    assert text(lines, orders) == text(orders, timestamp, unneeded, commented)
    broken = "\n".join(text(lines, orders)[n : n + 76] for n in range(0, 400, 76))
    assert read_schema(broken, SchemaType.PROTOBUF, "shop.Order") == read(lines, orders)


def test_missing_import_is_rejected() -> None:
    found = fault(file(message("Order"), imports=("lines.proto",)))
    assert found.reason == "SchemaRefersElsewhere"
    assert "lines.proto" in found.message
    assert "--include_imports" in found.message


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ([file(LINE)], "no message shop.Order"),
        ([file(message("Order", ".shop.Line line = 1"))], "shop.Line"),
        ([file(message("Order")), file(message("Order"))], "shop.proto is in the schema twice"),
        ([file(message("Order"), message("Order"))], "duplicate"),
        ([file(message("Order"), imports=("shop.proto",))], "shop.proto imports itself"),
        ([file(message("Order", "string a = 1", "string b = 1"))], "shop.proto is not valid"),
        ([file(message("Order", "string a = 0"))], "shop.proto is not valid"),
    ],
)
def test_invalid_schema_is_rejected(files: list[FileDescriptorProto], words: str) -> None:
    found = fault(*files)
    assert found.reason == "SchemaInvalid"
    assert words in found.message


def test_missing_message_is_named() -> None:
    assert "write its full name" in fault(ORDER, name="Order").message
    assert "no message (no name)" in fault(ORDER, name="").message
    assert fault(ORDER, name="shop.State").reason == "SchemaInvalid"


@pytest.mark.parametrize("raw", ["?", "AAA", b64encode(b"\xff\xff").decode(), "{}", "\ud800"])
def test_text_that_is_no_descriptor_set_is_rejected(raw: str) -> None:
    found = read_schema(raw, SchemaType.PROTOBUF, "shop.Order")
    assert isinstance(found, SchemaFault)
    assert found.reason == "SchemaInvalid"
    assert "protoc --include_imports" in found.message


def test_size_is_bounded() -> None:
    found = read_schema("A" * (MOST_BYTES + 1), SchemaType.PROTOBUF, "shop.Order")
    assert isinstance(found, SchemaFault)
    assert found.reason == "SchemaTooLarge"
    many = [file(name=f"{n}.proto") for n in range(MOST_FILES + 1)]
    assert fault(*many).reason == "SchemaTooLarge"


@given(st.binary(max_size=60), st.integers(0, 300), st.integers(0, 40))
@example(put=b"\x01\x01\x01\x01\x01\x01\x80", at=5, length=7)
def test_any_descriptor_set_gives_a_schema_or_a_fault(put: bytes, at: int, length: int) -> None:
    raw = b64decode(descriptor_set(ORDER))
    changed = b64encode(raw[:at] + put + raw[at + length :]).decode()
    found = read_schema(changed, SchemaType.PROTOBUF, "shop.Order")
    if isinstance(found, MessageSchemaText):
        assert read_schema(found.text, SchemaType.PROTOBUF, "shop.Order") == found
        assert FileDescriptorSet.FromString(b64decode(found.text)).file
    else:
        assert found.reason in {"SchemaInvalid", "SchemaTooLarge", "SchemaRefersElsewhere"}
        assert len(found.message) < 600
