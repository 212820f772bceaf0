"""Views of JSON Schemas: references resolved, and the constraints on one value side by side."""

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote

Subschema = Mapping[str, Any]

ANY: Subschema = {}
NONE: Subschema = {"not": {}}
TYPES = frozenset({"null", "boolean", "object", "array", "string", "integer", "fraction"})
"""Types of values. A number is an integer or a fraction."""

# Their keywords beside $ref have no effect.
_REF_ALONE = ("draft-06", "draft-07")


class UnreadableSchemaError(Exception):
    """Raised for a schema that uses what a comparison does not follow."""


class Root:
    """Schema whose references are resolved within it."""

    def __init__(self, schema: Subschema) -> None:
        self.schema = schema
        self.draft = str(schema.get("$schema", "")).rstrip("#")
        self._ref_alone = any(each in self.draft for each in _REF_ALONE)

    def conjuncts(self, schema: object) -> Iterator[Subschema]:
        """Yield the schemas that a value must satisfy together, without $ref and allOf.

        Raises `UnreadableSchemaError`.
        """
        if isinstance(schema, bool):
            yield ANY if schema else NONE
            return
        if not isinstance(schema, Mapping):
            raise UnreadableSchemaError
        if "$dynamicRef" in schema or "$recursiveRef" in schema:
            raise UnreadableSchemaError
        reference = schema.get("$ref")
        if isinstance(reference, str):
            yield from self.conjuncts(self._target(reference))
            if self._ref_alone:
                return
        for each in schema.get("allOf", ()):
            yield from self.conjuncts(each)
        yield schema

    def _target(self, reference: str) -> object:
        pointer = unquote(reference.removeprefix("#"))
        if not reference.startswith("#") or (pointer and not pointer.startswith("/")):
            raise UnreadableSchemaError  # an anchor
        here: object = self.schema
        for part in pointer.split("/")[1:]:
            name = part.replace("~1", "/").replace("~0", "~")
            if isinstance(here, Mapping) and name in here:
                here = here[name]
            elif isinstance(here, list) and name.isdecimal() and int(name) < len(here):
                here = here[int(name)]
            else:
                raise UnreadableSchemaError
        return here


def types_of(schema: Subschema) -> frozenset[str]:
    """Return the types of values that a schema's keywords type, enum and const allow."""
    allowed = TYPES
    named = schema.get("type")
    if named is not None:
        names = [named] if isinstance(named, str) else named
        allowed = frozenset(
            each
            for name in names
            for each in (("integer", "fraction") if name == "number" else (name,))
        )
    listed = values_of(schema)
    if listed is not None:
        allowed &= frozenset(map(type_of, listed))
    return allowed


def values_of(schema: Subschema) -> list[Any] | None:
    """Return the values that const and enum list, None without them."""
    if "const" in schema:
        return [schema["const"]]
    listed = schema.get("enum")
    return listed if isinstance(listed, list) else None


def type_of(value: object) -> str:
    """Return the type of a value."""
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "integer" if value.is_integer() else "fraction"
        case str():
            return "string"
        case list():
            return "array"
        case _:
            return "object"


def has_reference(schema: object) -> bool:
    """Return whether a schema has a reference in it."""
    waiting = [schema]
    while waiting:
        each = waiting.pop()
        if isinstance(each, Mapping):
            if "$ref" in each or "$dynamicRef" in each or "$recursiveRef" in each:
                return True
            waiting += each.values()
        elif isinstance(each, list):
            waiting += each
    return False


def bare(schema: Subschema) -> dict[str, Any]:
    """Return a schema without its annotations."""
    return {name: value for name, value in schema.items() if name not in ANNOTATIONS}


ANNOTATIONS = frozenset(
    {"title", "description", "default", "examples", "$comment", "deprecated", "readOnly"}
    | {"writeOnly", "$schema", "$id", "$anchor", "$defs", "definitions", "$ref", "allOf"}
    | {"$vocabulary", "$dynamicAnchor", "$recursiveAnchor"}
)
"""Keywords that constrain nothing here: annotations, and those that `conjuncts` resolves."""
