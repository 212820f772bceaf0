"""Comparison of Protobuf messages by the rules of the wire format.

For consumers, fields that they do not know are no problem: their programs skip them. For producers
they are: the guard of a producer validates its messages with the new schema, and rejects them.
https://protobuf.dev/programming-guides/proto3/#updating
"""

from collections.abc import Iterator, Mapping

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.descriptor_pb2 import FieldDescriptorProto

from troth.resources.messaging.schemas.compatibility.changes import Problem

_Type = FieldDescriptorProto.Type
_WIDER: Mapping[str, frozenset[str]] = {
    "bool": frozenset({"int32", "int64", "uint32", "uint64"}),
    "int32": frozenset({"int64"}),
    "uint32": frozenset({"uint64", "int64"}),
    "sint32": frozenset({"sint64"}),
    "enum": frozenset({"int32", "int64"}),
    "string": frozenset({"bytes"}),
}
"""Types that read each value of a type as the same value."""


def problems(writer: Descriptor, reader: Descriptor, *, strict: bool) -> Iterator[Problem]:
    """Yield why messages of a writer's schema are not valid for a reader's schema.

    With `strict`, a field that the reader does not have is a problem.
    """
    yield from _Comparison(strict=strict).messages(writer, reader, "")


class _Comparison:
    def __init__(self, *, strict: bool) -> None:
        self._strict = strict
        self._assumed: set[tuple[str, str]] = set()

    def messages(self, writer: Descriptor, reader: Descriptor, path: str) -> Iterator[Problem]:
        pair = writer.full_name, reader.full_name
        if pair in self._assumed:
            return
        self._assumed.add(pair)
        written = {each.number: each for each in writer.fields}
        read = {each.number: each for each in reader.fields}
        for number, field in sorted(written.items()):
            here = f"{path}/{field.name}"
            if number in read:
                yield from self._fields(field, read[number], here)
            elif self._strict:
                yield Problem(
                    here, f"field {number} is missing; the guard rejects messages with it"
                )
        for number, field in sorted(read.items()):
            if field.is_required and not (number in written and written[number].is_required):
                yield Problem(f"{path}/{field.name}", f"field {number} is required")
        yield from _oneofs(written, read, path)

    def _fields(
        self, writer: FieldDescriptor, reader: FieldDescriptor, path: str
    ) -> Iterator[Problem]:
        number, was, is_now = writer.number, _type(writer), _type(reader)
        if writer.is_repeated and not reader.is_repeated:
            yield Problem(path, f"field {number} is repeated in messages, but is read as one value")
        elif was != is_now and is_now not in _WIDER.get(was, ()):
            yield Problem(path, f"field {number} is {was} in messages, but is read as {is_now}")
        elif was == is_now == "message":
            if _is_map(writer) is not _is_map(reader):
                yield Problem(path, f"field {number} is a map on one side only")
            yield from self.messages(_message(writer), _message(reader), path)
        elif was == is_now == "enum":
            assert writer.enum_type is not None
            assert reader.enum_type is not None
            yield from _enums(writer.enum_type, reader.enum_type, path)
        if writer.name != reader.name:
            sentence = (
                f"field {number} has two names, {writer.name} and {reader.name}; if it has another "
                "meaning, give it a new number"
            )
            yield Problem(path, sentence, certain=False)


def _type(field: FieldDescriptor) -> str:
    return _Type.Name(field.type).removeprefix("TYPE_").lower()  # type: ignore[arg-type]


def _is_map(field: FieldDescriptor) -> bool:
    return bool(_message(field).GetOptions().map_entry)


def _message(field: FieldDescriptor) -> Descriptor:
    assert field.message_type is not None
    return field.message_type


def _enums(writer: EnumDescriptor, reader: EnumDescriptor, path: str) -> Iterator[Problem]:
    unknown = {
        each.number: each.name
        for each in writer.values
        if each.number not in reader.values_by_number
    }
    if unknown and reader.is_closed:
        yield Problem(path, f"enum {reader.full_name} has no value {_listed(unknown)}")
    elif unknown or (reader.is_closed and not writer.is_closed):
        sentence = f"enum {reader.full_name} has no name for {_listed(unknown)}"
        yield Problem(
            path, sentence if unknown else f"enum {reader.full_name} is closed", certain=False
        )
    for each in writer.values:
        other = reader.values_by_number.get(each.number)
        if other is not None and other.name not in {
            value.name for value in writer.values if value.number == each.number
        }:
            sentence = f"value {each.number} has two names, {each.name} and {other.name}"
            yield Problem(path, sentence, certain=False)


def _oneofs(
    written: Mapping[int, FieldDescriptor], read: Mapping[int, FieldDescriptor], path: str
) -> Iterator[Problem]:
    """Yield fields that exclude one another when they are read, but not when they are written."""
    for number in sorted(written.keys() & read.keys()):
        group = _oneof(read[number])
        for other in sorted(written.keys() & read.keys()):
            if other > number and group and _oneof(read[other]) == group:
                was = _oneof(written[number])
                if not was or was != _oneof(written[other]):
                    sentence = f"fields {number} and {other} exclude one another in oneof {group}"
                    yield Problem(f"{path}/{written[number].name}", sentence, certain=False)


def _oneof(field: FieldDescriptor) -> str:
    group = field.containing_oneof
    return "" if group is None or len(group.fields) == 1 else str(group.name)


def _listed(values: Mapping[int, str]) -> str:
    named = [f"{name} ({number})" for number, name in sorted(values.items())]
    return ", ".join(named[:3]) + (" and others" if len(named) > 3 else "")  # noqa: PLR2004 - a line
