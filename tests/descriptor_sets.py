"""Builders of Protobuf descriptor sets, as protoc writes them, without protoc."""

from base64 import b64encode
from collections.abc import Mapping

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
)

TIMESTAMP = "google/protobuf/timestamp.proto"

LABELS = {
    "optional": FieldDescriptorProto.LABEL_OPTIONAL,
    "required": FieldDescriptorProto.LABEL_REQUIRED,
    "repeated": FieldDescriptorProto.LABEL_REPEATED,
}


def field(text: str, **more: object) -> FieldDescriptorProto:
    """Return the field of a line such as `repeated string tags = 3`."""
    words, _, number = text.partition(" = ")
    *label, type_, name = words.split()
    made = FieldDescriptorProto(
        name=name, number=int(number), label=LABELS[label[0] if label else "optional"]
    )
    if type_.startswith("."):
        made.type_name = type_
        made.type = FieldDescriptorProto.TYPE_MESSAGE
    elif type_.startswith("enum."):
        made.type_name = type_.removeprefix("enum")
        made.type = FieldDescriptorProto.TYPE_ENUM
    else:
        made.type = FieldDescriptorProto.Type.Value(f"TYPE_{type_.upper()}")
    made.MergeFrom(FieldDescriptorProto(**more))  # type: ignore[arg-type]
    return made


def message(name: str, *fields: str | FieldDescriptorProto) -> DescriptorProto:
    """Return a message."""
    made = DescriptorProto(name=name)
    made.field.extend(field(each) if isinstance(each, str) else each for each in fields)
    return made


def with_map(made: DescriptorProto, name: str, number: int, *, full: str) -> DescriptorProto:
    """Add `map<string, int32> name = number` to a message with this full name."""
    entry = made.nested_type.add(name=f"{name.capitalize()}Entry")
    entry.options.map_entry = True
    entry.field.extend([field("string key = 1"), field("int32 value = 2")])
    made.field.append(field(f"repeated .{full}.{entry.name} {name} = {number}"))
    return made


def file(
    *messages: DescriptorProto,
    name: str = "shop.proto",
    syntax: str = "proto3",
    imports: tuple[str, ...] = (),
    enums: Mapping[str, Mapping[str, int]] | None = None,
) -> FileDescriptorProto:
    """Return a file of the package shop."""
    made = FileDescriptorProto(name=name, package="shop", syntax=syntax, dependency=imports)
    made.message_type.extend(messages)
    for each, values in (enums or {}).items():
        enum = made.enum_type.add(name=each)
        for label, number in values.items():
            enum.value.add(name=label, number=number)
    return made


def descriptor_set(*files: FileDescriptorProto) -> str:
    """Return a descriptor set in base64."""
    return b64encode(FileDescriptorSet(file=files).SerializeToString()).decode()


ORDER = file(
    with_map(
        message(
            "Order",
            "string id = 1",
            "int32 quantity = 2",
            "repeated .shop.Line lines = 3",
            ".google.protobuf.Timestamp placed = 4",
            "enum.shop.State state = 5",
        ),
        "stock",
        6,
        full="shop.Order",
    ),
    message("Line", "string sku = 1", ".shop.Order order = 2"),
    imports=(TIMESTAMP,),
    enums={"State": {"NEW": 0, "PAID": 1}},
)
"""A file with the message shop.Order."""
