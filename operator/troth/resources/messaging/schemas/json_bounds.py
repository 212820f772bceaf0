"""Bounds on the cost of a JSON Schema, checked before it is compiled.

jsonschema-rs 0.61 compiles `unevaluatedProperties` and similar keywords by following every schema
of the same value. Forty definitions that refer to each other twice never finish, and a long chain
ends the process. The count uses the keywords of all drafts at once, so it is never too low.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from troth.resources.messaging.schemas.json_text import depth, members, shown

DEEPEST = 64
"""Maximum depth of objects and arrays, and of a chain of schemas for the same value."""
MOST_STEPS = 10_000
"""Maximum number of schemas. Each counts once for itself and once for each schema that leads to it
for the same value. A regular expression counts as `EXPRESSION` schemas."""
EXPRESSION = 50

_SAME_VALUE = ("not", "if", "then", "else", "allOf", "anyOf", "oneOf")
_SAME_VALUE_NAMED = ("dependentSchemas", "dependencies")
_WITHIN = (
    "items",
    "additionalItems",
    "prefixItems",
    "contains",
    "additionalProperties",
    "propertyNames",
    "unevaluatedItems",
    "unevaluatedProperties",
    "contentSchema",
)
_WITHIN_NAMED = ("properties", "patternProperties", "$defs", "definitions")
_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")
_ANCHORS = ("$anchor", "$dynamicAnchor")
_IDS = ("$id", "id")

SchemaObject = dict[str, Any]


class OutOfBounds(Exception):  # noqa: N818 - the name states the fault
    """Raised for a schema that exceeds the bounds or refers to another document."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def check_bounds(schema: SchemaObject) -> None:
    """Raise `OutOfBounds` for a schema that exceeds the bounds or refers to another document."""
    if depth(schema) > DEEPEST:
        message = f"the schema nests deeper than {DEEPEST} levels; remove levels from it"
        raise OutOfBounds("SchemaTooLarge", message)
    steps = _Steps(schema, _anchored(schema))
    name = "id" if "draft-04" in str(schema.get("$schema")) else "$id"
    waiting, seen, total = [schema], {id(schema)}, 0
    while waiting:
        each = waiting.pop()
        if each is not schema:
            _check_name(name, each.get(name))
        total += steps.of(each)
        if total > MOST_STEPS:
            message = (
                "the schema costs too much once its references are resolved; use fewer allOf, "
                "anyOf, oneOf and $ref for one value, and fewer patterns"
            )
            raise OutOfBounds("SchemaTooLarge", message)
        for other in (*steps.of_same_value(each), *_within(each)):
            if id(other) not in seen:
                seen.add(id(other))
                waiting.append(other)


@dataclass(slots=True, repr=False)
class _Steps:
    """Number of schemas for the same value as a schema, itself included."""

    root: SchemaObject
    anchored: Mapping[str, list[SchemaObject]]
    known: dict[int, int]
    above: list[int]

    def __init__(self, root: SchemaObject, anchored: Mapping[str, list[SchemaObject]]) -> None:
        self.root, self.anchored = root, anchored
        self.known, self.above = {}, []

    def of(self, schema: SchemaObject) -> int:
        here = id(schema)
        if here in self.known:
            return self.known[here]
        if here in self.above:
            message = "a schema refers to itself for the same value; remove that $ref"
            raise OutOfBounds("SchemaInvalid", message)
        if len(self.above) == DEEPEST:
            message = (
                f"more than {DEEPEST} schemas refer to one another for the same value; refer to "
                "the last of them directly"
            )
            raise OutOfBounds("SchemaTooLarge", message)
        self.above.append(here)
        beneath = sum(self.of(other) for other in self.of_same_value(schema))
        self.above.pop()
        self.known[here] = 1 + EXPRESSION * _expressions(schema) + beneath
        return self.known[here]

    def of_same_value(self, schema: SchemaObject) -> Iterator[SchemaObject]:
        for keyword in _SAME_VALUE:
            yield from _schemas(schema.get(keyword))
        for keyword in _SAME_VALUE_NAMED:
            yield from _named_schemas(schema.get(keyword))
        for keyword in _REFERENCES:
            reference = schema.get(keyword)
            if isinstance(reference, str):
                yield from self._targets(reference)

    def _targets(self, reference: str) -> Iterator[SchemaObject]:
        """Yield every schema that a reference can mean."""
        if not reference.startswith("#"):
            message = (
                f"the schema refers to {shown(reference)}, but Troth fetches nothing; put it "
                "under $defs and refer to it as #/$defs/name"
            )
            raise OutOfBounds("SchemaRefersElsewhere", message)
        fragment = unquote(reference[1:])
        found = [*self.anchored.get(fragment, ())]
        there = _at(self.root, fragment)
        if isinstance(there, dict):
            found.append(there)
        yield from {id(each): each for each in found}.values()


def _check_name(keyword: str, name: object) -> None:
    """Reject a nested schema with an ID of its own, which changes the meaning of references."""
    if isinstance(name, str) and not name.startswith("#"):
        message = (
            f"a subschema has an {keyword} of its own, {shown(name)}; write {keyword} only at "
            "the top, and refer to subschemas as #/$defs/name"
        )
        raise OutOfBounds("SchemaRefersElsewhere", message)


def _schemas(value: object) -> Iterator[SchemaObject]:
    for each in value if isinstance(value, list) else [value]:
        if isinstance(each, dict):
            yield each


def _named_schemas(value: object) -> Iterator[SchemaObject]:
    if isinstance(value, dict):
        yield from (each for each in value.values() if isinstance(each, dict))


def _within(schema: SchemaObject) -> Iterator[SchemaObject]:
    for keyword in _WITHIN:
        yield from _schemas(schema.get(keyword))
    for keyword in _WITHIN_NAMED:
        yield from _named_schemas(schema.get(keyword))


def _expressions(schema: SchemaObject) -> int:
    named = schema.get("patternProperties")
    return ("pattern" in schema) + (len(named) if isinstance(named, dict) else 0)


def _anchored(schema: SchemaObject) -> Mapping[str, list[SchemaObject]]:
    """Return the schemas by the names that a reference can use."""
    found: dict[str, list[SchemaObject]] = {}
    waiting: list[object] = [schema]
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict):
            names = [each.get(keyword) for keyword in _ANCHORS]
            ids = [each.get(keyword) for keyword in _IDS]
            names += [name[1:] for name in ids if isinstance(name, str) and name[:1] == "#"]
            for name in names:
                if isinstance(name, str):
                    found.setdefault(name, []).append(each)
        waiting.extend(members(each))
    return found


def _at(root: SchemaObject, pointer: str) -> object:
    """Return the target of a JSON pointer (RFC 6901), None if there is none."""
    if pointer and not pointer.startswith("/"):
        return None
    here: object = root
    for part in pointer.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(here, dict):
            here = here.get(name)
        elif isinstance(here, list) and name.isdecimal() and int(name) < len(here):
            here = here[int(name)]
        else:
            return None
    return here
