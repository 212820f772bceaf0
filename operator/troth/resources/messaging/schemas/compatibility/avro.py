"""Comparison of Avro schemas by the rules of schema resolution (Avro 1.12).

https://avro.apache.org/docs/1.12.0/specification/#schema-resolution
"""

from collections.abc import Iterator

from troth.resources.messaging.schemas.avro_types import (
    Array,
    AvroType,
    Enum,
    Field,
    Fixed,
    Map,
    Named,
    Primitive,
    Record,
    Union,
    kind_of,
)
from troth.resources.messaging.schemas.compatibility.changes import Problem

_PROMOTIONS = {
    "int": frozenset({"long", "float", "double"}),
    "long": frozenset({"float", "double"}),
    "float": frozenset({"double"}),
    "string": frozenset({"bytes"}),
    "bytes": frozenset({"string"}),
}


def problems(writer: AvroType, reader: AvroType) -> Iterator[Problem]:
    """Yield why a reader's schema does not resolve messages of a writer's schema."""
    yield from _Resolution().problems(writer, reader, "")


class _Resolution:
    def __init__(self) -> None:
        self._assumed: set[tuple[int, int]] = set()

    def problems(self, writer: AvroType, reader: AvroType, path: str) -> Iterator[Problem]:
        if isinstance(writer, Union):
            for each in writer.branches:
                yield from self.problems(each, reader, path)
            return
        if isinstance(reader, Union):
            found = next((each for each in reader.branches if _matches(writer, each)), None)
            if found is None:
                yield Problem(path, f"{kind_of(writer)} is not a type of the union")
            else:
                yield from self.problems(writer, found, path)
            return
        pair = id(writer), id(reader)
        if pair in self._assumed:
            return
        self._assumed.add(pair)
        yield from self._of_one_kind(writer, reader, path)

    def _of_one_kind(self, writer: AvroType, reader: AvroType, path: str) -> Iterator[Problem]:
        match writer, reader:
            case Primitive(), Primitive():
                yield from _of_primitives(writer, reader, path)
            case Array(), Array():
                yield from self.problems(writer.items, reader.items, f"{path}/*")
            case Map(), Map():
                yield from self.problems(writer.values, reader.values, f"{path}/*")
            case Named(), Named() if type(writer) is type(reader):
                if _same_name(writer, reader):
                    yield from self._of_named(writer, reader, path)
                else:
                    yield Problem(
                        path,
                        f"{writer.name} is not {reader.name}; if it is only renamed, list the "
                        "other name under aliases",
                    )
            case _:
                yield Problem(path, f"{kind_of(writer)} is not {kind_of(reader)}")

    def _of_named(self, writer: Named, reader: Named, path: str) -> Iterator[Problem]:
        match writer, reader:
            case Record(), Record():
                for field in reader.fields:
                    yield from self._of_field(writer, field, path)
            case Enum(), Enum():
                unknown = sorted(set(writer.symbols) - set(reader.symbols))
                if unknown and reader.default is None:
                    yield Problem(
                        path,
                        f"enum {reader.name} has no {_listed(unknown)} and no default",
                    )
            case Fixed(), Fixed():
                if writer.size != reader.size:
                    yield Problem(path, f"fixed {reader.name} has another size")
                elif (writer.logical, writer.decimal) != (reader.logical, reader.decimal):
                    yield Problem(path, _MEANING, certain=False)

    def _of_field(self, writer: Record, field: Field, path: str) -> Iterator[Problem]:
        here = f"{path}/{field.name}"
        written = {each.name: each for each in writer.fields}
        found = next(
            (written[name] for name in (field.name, *field.aliases) if name in written), None
        )
        if found is not None:
            yield from self.problems(found.type, field.type, here)
        elif not field.has_default:
            yield Problem(here, "the field is missing in messages, and has no default")


_MEANING = "the logical type differs, so values are read with another meaning"


def _of_primitives(writer: Primitive, reader: Primitive, path: str) -> Iterator[Problem]:
    if writer.name != reader.name and reader.name not in _PROMOTIONS.get(writer.name, ()):
        yield Problem(path, f"{writer.name} is not {reader.name}")
    elif (writer.name, reader.name) == ("bytes", "string"):
        yield Problem(path, "bytes are read as string, and need not be UTF-8", certain=False)
    elif (writer.logical, writer.decimal) != (reader.logical, reader.decimal):
        yield Problem(path, _MEANING, certain=False)


def _matches(writer: AvroType, reader: AvroType) -> bool:
    """Return whether a reader's union selects a branch for a type of a writer."""
    match writer, reader:
        case Primitive(), Primitive():
            return writer.name == reader.name or reader.name in _PROMOTIONS.get(writer.name, ())
        case Array(), Array():
            return _matches(writer.items, reader.items)
        case Map(), Map():
            return _matches(writer.values, reader.values)
        case Fixed(), Fixed():
            return writer.size == reader.size and _same_name(writer, reader)
        case Named(), Named():
            return type(writer) is type(reader) and _same_name(writer, reader)
        case _:
            return isinstance(writer, Union) or isinstance(reader, Union)


def _same_name(writer: Named, reader: Named) -> bool:
    unqualified = writer.name.rpartition(".")[2] == reader.name.rpartition(".")[2]
    return unqualified or writer.name in reader.aliases


def _listed(names: list[str]) -> str:
    return ", ".join(names[:3]) + (" and others" if len(names) > 3 else "")  # noqa: PLR2004 - a line
