"""Comparison of Protobuf messages, compared with the library's parser."""

from typing import Any

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.message_factory import GetMessageClass
from hypothesis import given
from hypothesis import strategies as st

from tests.descriptor_sets import ORDER, descriptor_set, field, file, message, with_map
from tests.strategies import more
from troth.edge.events.schemas.compiled import compile as compiled
from troth.resources.messaging.schemas import protobuf
from troth.resources.messaging.schemas.compatibility.changes import Change, Side, Verdict, verdict
from troth.resources.messaging.schemas.compatibility.compare import changes_between
from troth.resources.messaging.schemas.reading import read_schema
from troth.resources.messaging.schemas.schema_text import MessageSchemaText, SchemaType

YES, NO, MAYBE = Verdict.COMPATIBLE, Verdict.INCOMPATIBLE, Verdict.UNDECIDED


def read(schema: FileDescriptorProto) -> MessageSchemaText:
    found = read_schema(descriptor_set(schema), SchemaType.PROTOBUF, "shop.Order")
    assert isinstance(found, MessageSchemaText), found
    return found


def changes(old: FileDescriptorProto, new: FileDescriptorProto) -> tuple[Change, ...]:
    return changes_between(read(old), read(new))


def of(*fields: Any, syntax: str = "proto3", **more: Any) -> FileDescriptorProto:
    return file(message("Order", *fields), syntax=syntax, **more)


def states(*names: str, syntax: str = "proto3") -> FileDescriptorProto:
    values = {name: number for number, name in enumerate(names)}
    return of("enum.shop.State state = 1", syntax=syntax, enums={"State": values})


def choice(*fields: str) -> FileDescriptorProto:
    made = of(*(field(each, oneof_index=0) for each in fields))
    made.message_type[0].oneof_decl.add(name="choice")
    return made


WITH_MAP = file(with_map(message("Order"), "stock", 1, full="shop.Order"))
LINES = [
    file(message("Order", "repeated .shop.Line lines = 1"), message("Line", f"{type_} sku = 1"))
    for type_ in ("string", "int32")
]


@pytest.mark.parametrize(
    ("old", "new", "producers", "consumers"),
    [
        (of("string a = 1"), of("string a = 1", "string b = 2"), YES, YES),
        (of("string a = 1", "string b = 2"), of("string a = 1"), NO, YES),
        (of("int32 a = 1"), of("int64 a = 1"), YES, NO),
        (of("int32 a = 1"), of("sint32 a = 1"), NO, NO),
        (of("int32 a = 1"), of("fixed32 a = 1"), NO, NO),
        (of("string a = 1"), of("bytes a = 1"), YES, NO),
        (of("string a = 1"), of("int32 a = 1"), NO, NO),
        (of("string a = 1"), of("string b = 1"), MAYBE, MAYBE),
        (of("string a = 1"), of("string a = 2"), NO, YES),
        (of("string a = 1"), of("repeated string a = 1"), YES, NO),
        (
            of("required string a = 1", syntax="proto2"),
            of("string a = 1", syntax="proto2"),
            YES,
            NO,
        ),
        (of(syntax="proto2"), of("required string a = 1", syntax="proto2"), NO, YES),
        (states("NEW"), states("NEW", "PAID"), YES, MAYBE),
        (states("NEW", syntax="proto2"), states("NEW", "PAID", syntax="proto2"), YES, NO),
        (states("NEW", "PAID"), states("NEW", "GONE"), MAYBE, MAYBE),
        (of("string a = 1", "string b = 2"), choice("string a = 1", "string b = 2"), MAYBE, YES),
        (choice("string a = 1"), choice("string a = 1", "string b = 2"), YES, YES),
        (WITH_MAP, of("repeated .shop.Order stock = 1"), NO, NO),
        (LINES[0], LINES[1], NO, NO),
        (ORDER, ORDER, YES, YES),
    ],
)
def test_change_has_the_verdict_of_the_rules(
    old: FileDescriptorProto, new: FileDescriptorProto, producers: Verdict, consumers: Verdict
) -> None:
    found = changes(old, new)
    sides = verdict(found, Side.PRODUCERS), verdict(found, Side.CONSUMERS)
    assert sides == (producers, consumers), found


def test_change_names_place_and_reason() -> None:
    first, _ = changes(*LINES)
    assert first.path == "/lines/sku"
    assert first.sentence == "field 1 is string in messages, but is read as int32"


def test_long_chain_of_messages_is_undecided() -> None:
    count = 1200
    chain = [message(f"M{n}", f".shop.M{n + 1} a = 1") for n in range(count)]
    old, new = (
        file(message("Order", ".shop.M0 a = 1"), *chain, message(f"M{count}", f"{type_} a = 1"))
        for type_ in ("string", "int32")
    )
    found = changes(old, new)
    assert {verdict(found, side) for side in Side} == {MAYBE}
    assert "nest too deeply" in found[0].sentence


TYPES = {
    "int32": st.integers(-(2**31), 2**31 - 1),
    "int64": st.integers(-(2**63), 2**63 - 1),
    "sint32": st.integers(-(2**31), 2**31 - 1),
    "uint32": st.integers(0, 2**32 - 1),
    "bool": st.booleans(),
    "string": st.text(max_size=3),
    "bytes": st.binary(max_size=3),
    "double": st.floats(allow_nan=False),
}


def raw(value: Any) -> Any:
    """Return a text as bytes, and any other value as it is."""
    return value.encode() if isinstance(value, str) else value


@st.composite
def schemas(draw: st.DrawFn) -> dict[int, tuple[str, str]]:
    """Draw the labels and types of fields by their numbers."""
    kind = st.tuples(st.sampled_from(["optional", "repeated"]), st.sampled_from(sorted(TYPES)))
    return draw(st.dictionaries(st.integers(1, 3), kind, max_size=3))


def made(schema: dict[int, tuple[str, str]]) -> FileDescriptorProto:
    return of(*(f"{label} {type_} f{n} = {n}" for n, (label, type_) in sorted(schema.items())))


@more(4)
@given(schemas(), schemas(), st.booleans(), st.data())
def test_every_message_keeps_its_values_if_the_verdict_is_compatible(
    old: dict[int, tuple[str, str]],
    new: dict[int, tuple[str, str]],
    alike: bool,
    data: st.DataObject,
) -> None:
    new = old | new if alike else new
    files = made(old), made(new)
    found = changes(*files)
    for side, writer, (sender, receiver) in (
        (Side.PRODUCERS, old, files),
        (Side.CONSUMERS, new, files[::-1]),
    ):
        if verdict(found, side) is not YES:
            continue
        sent, received = (
            GetMessageClass(protobuf.compiled(descriptor_set(each), "shop.Order"))()
            for each in (sender, receiver)
        )
        for number, (label, type_) in writer.items():
            value = data.draw(TYPES[type_])
            if label == "repeated":
                getattr(sent, f"f{number}").append(value)
            else:
                setattr(sent, f"f{number}", value)
        data_sent = sent.SerializeToString()
        received.ParseFromString(data_sent)
        for number, (label, _) in writer.items():
            if label == "optional" and f"f{number}" in received.DESCRIPTOR.fields_by_name:
                was, value = (getattr(each, f"f{number}") for each in (sent, received))
                if received.DESCRIPTOR.fields_by_number[number].is_repeated:
                    # a default is not sent
                    assert list(map(raw, value)) in ([raw(was)], [])
                else:
                    assert raw(value) == raw(was)
        if side is Side.PRODUCERS:
            judge = compiled("Protobuf", descriptor_set(receiver), "shop.Order")
            assert judge.check(data_sent).fault is None
