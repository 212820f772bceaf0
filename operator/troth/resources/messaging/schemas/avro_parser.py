"""Parser of Avro schemas (Avro 1.12), stricter than libraries are: names, defaults, unions.

A schema that another library reads differently, or that Troth could not check messages by, is
rejected. The caller bounds size and depth.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from troth.resources.messaging.schemas.avro_types import (
    MOST_PRECISION,
    Array,
    AvroType,
    Decimal,
    Enum,
    Field,
    Fixed,
    Map,
    Named,
    Primitive,
    Record,
    Union,
)
from troth.resources.messaging.schemas.json_text import shown

PRIMITIVES = frozenset({"null", "boolean", "int", "long", "float", "double", "bytes", "string"})
MOST_FIXED = 64 * 1024
"""Maximum size of a fixed type in bytes."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_COMPLEX = frozenset({"record", "enum", "fixed", "array", "map"})
_LOGICAL = {
    "date": "int",
    "time-millis": "int",
    "time-micros": "long",
    "timestamp-millis": "long",
    "timestamp-micros": "long",
    "local-timestamp-millis": "long",
    "local-timestamp-micros": "long",
    "uuid": "string",
}
"""Logical types that fastavro decodes, and the primitive type of each. Readers ignore others."""
_RANGES = {"int": 2**31, "long": 2**63}

Steps = tuple[str | int, ...]


class AvroError(Exception):
    """Raised for a schema that is not valid Avro. The text names the place of the fault."""


def parse_avro(schema: object) -> AvroType:
    """Return the type that a schema describes; raises `AvroError`."""
    parser = _Parser()
    found = parser.type(schema, "", ())
    _check_finite(found)
    return found


class _Parser:
    """Reads one schema, and remembers the named types so far."""

    def __init__(self) -> None:
        self._named: dict[str, AvroType] = {}

    def type(self, schema: object, namespace: str, steps: Steps) -> AvroType:
        match schema:
            case str():
                return self._reference(schema, namespace, steps)
            case list():
                return self._union(schema, namespace, steps)
            case dict():
                return self._complex(schema, namespace, steps)
        raise _fault(steps, "write a type: a name, an object with type, or a list of types")

    def _reference(self, name: str, namespace: str, steps: Steps) -> AvroType:
        if name in PRIMITIVES:
            return Primitive(name)
        full = _full(name, namespace)
        found = self._named.get(full)
        if found is None:
            raise _fault(
                steps,
                f"type {shown(full)} is not defined before this place; define it in this schema, "
                "or correct the name",
            )
        return found

    def _union(self, branches: list[Any], namespace: str, steps: Steps) -> AvroType:
        if not branches:
            raise _fault(steps, "a union is empty; list at least one type")
        found = tuple(
            self.type(each, namespace, (*steps, number)) for number, each in enumerate(branches)
        )
        seen: set[str] = set()
        for number, each in enumerate(found):
            if isinstance(each, Union):
                raise _fault((*steps, number), "a union is directly in a union; write one union")
            name = each.name if isinstance(each, Primitive | Named) else type(each).__name__.lower()
            if name in seen:
                raise _fault((*steps, number), f"the union has {shown(name)} twice; remove one")
            seen.add(name)
        return Union(found)

    def _complex(self, schema: dict[str, Any], namespace: str, steps: Steps) -> AvroType:
        if any(name.startswith("__") for name in schema):
            raise _fault(
                steps, "a member's name begins with __; fastavro reserves such names; remove it"
            )
        kind = schema.get("type")
        match kind:
            case "array":
                items = self.type(schema.get("items"), namespace, (*steps, "items"))
                return Array(items)
            case "map":
                return Map(self.type(schema.get("values"), namespace, (*steps, "values")))
            case "record" | "enum" | "fixed":
                return self._of_name(kind, schema, namespace, steps)
            case str() if kind in PRIMITIVES:
                return _primitive(kind, schema, steps)
            case str():
                return self._reference(kind, namespace, (*steps, "type"))
        raise _fault((*steps, "type"), "write the name of a type, such as record or string")

    def _of_name(self, kind: str, schema: dict[str, Any], namespace: str, steps: Steps) -> AvroType:
        full = _name_of(schema, namespace, steps)
        if full in self._named or full in PRIMITIVES or full in _COMPLEX:
            raise _fault((*steps, "name"), f"type {shown(full)} is defined twice; rename one")
        within = full.rpartition(".")[0]
        aliases = tuple(_full(each, within) for each in _aliases(schema, steps, dotted=True))
        if kind == "fixed":
            size = schema.get("size")
            if type(size) is not int or not 0 <= size <= MOST_FIXED:
                raise _fault(
                    (*steps, "size"), f"write a number of bytes between 0 and {MOST_FIXED}"
                )
            decimal = _decimal(schema, steps, size)
            logical = "decimal" if decimal is not None else ""
            made: AvroType = Fixed(full, aliases, size, logical, decimal)
        elif kind == "enum":
            made = _enum(full, aliases, schema, steps)
        else:
            made = Record(full, aliases, [])
        self._named[full] = made
        if isinstance(made, Record):
            self._fill(made, schema, within, steps)
        return made

    def _fill(self, record: Record, schema: dict[str, Any], within: str, steps: Steps) -> None:
        fields = schema.get("fields")
        if not isinstance(fields, list):
            raise _fault((*steps, "fields"), "write the list of the record's fields")
        seen: set[str] = set()
        for number, each in enumerate(fields):
            here = (*steps, "fields", number)
            if not isinstance(each, dict):
                raise _fault(here, "write a field as an object with name and type")
            name = each.get("name")
            if not isinstance(name, str) or not _NAME.fullmatch(name):
                raise _fault((*here, "name"), "write a name of letters, digits and _")
            aliases = tuple(_aliases(each, here, dotted=False))
            for used in (name, *aliases):
                if used in seen:
                    raise _fault(here, f"{shown(used)} is used twice in a record; rename one")
                seen.add(used)
            type_ = self.type(each.get("type"), within, (*here, "type"))
            record.fields.append(
                Field(name, aliases, type_, "default" in each, each.get("default"))
            )
            if "default" in each and not fits(type_, each["default"]):
                raise _fault((*here, "default"), "the default is not a value of the field's type")


def fits(type_: AvroType, value: Any) -> bool:  # noqa: ANN401 - any JSON value
    """Return whether a JSON value is a default of a type."""
    match type_:
        case Primitive():
            return _fits_primitive(type_.name, value)
        case Fixed():
            return _is_bytes(value) and len(value) == type_.size
        case Enum():
            return value in type_.symbols
        case Array():
            return isinstance(value, list) and all(fits(type_.items, each) for each in value)
        case Map():
            return isinstance(value, dict) and all(
                fits(type_.values, each) for each in value.values()
            )
        case Union():
            return any(fits(each, value) for each in type_.branches)
        case Record():
            return isinstance(value, dict) and all(
                fits(each.type, value[each.name]) if each.name in value else each.has_default
                for each in type_.fields
            )


def _fits_primitive(name: str, value: Any) -> bool:  # noqa: ANN401 - any JSON value
    match name:
        case "null":
            return value is None
        case "boolean":
            return isinstance(value, bool)
        case "int" | "long":
            most = _RANGES[name]
            return type(value) is int and -most <= value < most
        case "float" | "double":
            return type(value) in (int, float)
        case "bytes":
            return _is_bytes(value)
        case _:
            return isinstance(value, str)


def _is_bytes(value: object) -> bool:
    """Return whether a value is text of code points 0 to 255, as defaults of bytes are."""
    return isinstance(value, str) and all(ord(each) < 256 for each in value)  # noqa: PLR2004


def _primitive(name: str, schema: Mapping[str, Any], steps: Steps) -> Primitive:
    logical = schema.get("logicalType")
    if name == "bytes" and logical == "decimal":
        return Primitive(name, "decimal", _decimal(schema, steps, None))
    if isinstance(logical, str) and _LOGICAL.get(logical) == name:
        return Primitive(name, logical)
    return Primitive(name)


def _decimal(schema: Mapping[str, Any], steps: Steps, size: int | None) -> Decimal | None:
    if schema.get("logicalType") != "decimal":
        return None
    precision, scale = schema.get("precision"), schema.get("scale", 0)
    if type(precision) is not int or not 1 <= precision <= MOST_PRECISION:
        raise _fault(
            (*steps, "precision"), f"write a number of digits between 1 and {MOST_PRECISION}"
        )
    if type(scale) is not int or not 0 <= scale <= precision:
        raise _fault((*steps, "scale"), "write a number between 0 and the precision")
    if size is not None and 10**precision > 2 ** (8 * size - 1 if size else 0):
        raise _fault((*steps, "size"), f"{size} bytes are too few for {precision} digits")
    return Decimal(precision, scale)


def _enum(full: str, aliases: tuple[str, ...], schema: dict[str, Any], steps: Steps) -> Enum:
    symbols = schema.get("symbols")
    if not isinstance(symbols, list) or not all(
        isinstance(each, str) and _NAME.fullmatch(each) for each in symbols
    ):
        raise _fault((*steps, "symbols"), "write a list of names of letters, digits and _")
    if not symbols or len(set(symbols)) != len(symbols):
        raise _fault((*steps, "symbols"), "list at least one symbol, and each once")
    default = schema.get("default")
    if default is not None and default not in symbols:
        raise _fault((*steps, "default"), "the default is none of the symbols")
    return Enum(full, aliases, tuple(symbols), default)


def _name_of(schema: Mapping[str, Any], namespace: str, steps: Steps) -> str:
    name, own = schema.get("name"), schema.get("namespace", namespace)
    if not isinstance(name, str) or not _is_full_name(name):
        raise _fault((*steps, "name"), "write a name of letters, digits and _, such as shop.Order")
    if not isinstance(own, str) or (own and not _is_full_name(own)):
        raise _fault(
            (*steps, "namespace"), "write names of letters, digits and _ with dots between"
        )
    return _full(name, own)


def _aliases(schema: Mapping[str, Any], steps: Steps, *, dotted: bool) -> Iterable[str]:
    aliases = schema.get("aliases", [])
    if not isinstance(aliases, list) or not all(
        isinstance(each, str) and (_is_full_name(each) if dotted else _NAME.fullmatch(each))
        for each in aliases
    ):
        raise _fault((*steps, "aliases"), "write a list of names of letters, digits and _")
    return aliases


def _full(name: str, namespace: str) -> str:
    return name if "." in name or not namespace else f"{namespace}.{name}"


def _is_full_name(name: str) -> bool:
    return all(_NAME.fullmatch(part) for part in name.split("."))


def _check_finite(root: AvroType) -> None:
    """Reject a record that contains itself in each of its values."""
    done: set[int] = set()
    above: list[int] = []

    def visit(type_: AvroType) -> None:
        if id(type_) in done:
            return
        if isinstance(type_, Record):
            if id(type_) in above:
                raise AvroError(
                    f"record {shown(type_.name)} contains itself without end; put a union with "
                    "null, an array or a map between"
                )
            above.append(id(type_))
            for each in type_.fields:
                visit(each.type)
            above.pop()
        done.add(id(type_))

    visit(root)


def _fault(steps: Steps, sentence: str) -> AvroError:
    place = shown("/" + "/".join(map(str, steps))) if steps else ""
    return AvroError(f"the schema, at {place}: {sentence}" if place else f"the schema: {sentence}")
