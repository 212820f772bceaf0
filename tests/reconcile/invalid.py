"""Values that the schema or a rule rejects, for each field, made from the field's own schema."""

import copy
from collections.abc import Iterator
from typing import Any

from tests.builders import Manifest
from tests.reconcile.fields import Change, Field, example, set_at
from tests.refusals import faults

TEXTS = ("", " ", "?", "-", "No good", "0")
"""Texts of which each rule of a string rejects at least one."""


def invalid(of: Field, change: Change, declared: list[Manifest]) -> Iterator[Manifest]:
    """Yield the manifest that has the field, with each value that is rejected because of it."""
    manifest, way = example(of, change, declared)
    for value in _candidates(of.schema):
        spoilt = copy.deepcopy(manifest)
        set_at(spoilt["spec"], way, value)
        if any(_is_about(fault.field, way) for fault in faults(spoilt)):
            yield spoilt


def place_of(way: tuple[Any, ...]) -> str:
    """Return the path to a field as messages write it, such as `spec.accepts[0].ports`."""
    steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in way)
    return "spec" + "".join(steps)


def _is_about(field: str, way: tuple[Any, ...]) -> bool:
    place = place_of(way)
    return field == place or field.startswith((f"{place}.", f"{place}["))


def _candidates(schema: Manifest) -> Iterator[Any]:
    """Yield values of the right type that may be rejected, then values of another type."""
    match schema["type"]:
        case "string":
            yield from TEXTS
            yield "x" * (schema.get("maxLength", 0) + 1)
            yield 7
        case "integer":
            yield schema.get("minimum", 0) - 1
            yield schema.get("maximum", 0) + 1
            yield "many"
        case "boolean":
            yield from (False, "yes")
        case "array":
            yield []
            item = schema["items"]
            if "properties" not in item:
                for value in _candidates(item):
                    yield [value]
            yield [_some(item)] * (schema.get("maxItems", 0) + 1)
            yield "text"
        case _:
            yield {"a b": "c"} if "additionalProperties" in schema else {}
            yield {"unheardOf": 1}
            yield "text"


def _some(schema: Manifest) -> Any:
    """Return a value of the right type."""
    if "enum" in schema:
        return schema["enum"][0]
    return {"string": "a", "integer": 1, "object": {}}.get(schema["type"])
