"""Finds the field that somebody meant who wrote a field that does not exist."""

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

from troth.resources.kinds import EVERY_KIND_BY_NAME
from troth.resources.schema.crd import Schema, root_schema
from troth.resources.schema.sentences import nearest

_METADATA = ("name", "namespace", "labels", "annotations", "finalizers", "ownerReferences")


def field_meant(kind: str, steps: Sequence[str | int]) -> str:
    """Return the field that an unknown field of a kind most resembles, empty if none does.

    A field of the same object is returned by its name. A field that belongs elsewhere is returned
    with its path, such as `spec.workload.podSelector`, if there is one place alone.
    """
    if not steps or not isinstance(steps[-1], str):
        return ""
    word, schema = steps[-1], _at(_schema(kind), steps[:-1])
    beside: dict[str, Any] = (schema or {}).get("properties", {})
    if meant := nearest(word, beside):
        return meant
    elsewhere = list(_places(_schema(kind), word))
    return elsewhere[0] if len(elsewhere) == 1 else ""


@cache
def _schema(kind: str) -> Schema:
    schema = root_schema(EVERY_KIND_BY_NAME[kind].model)
    fields = {name: part for name, part in schema["properties"].items() if name != "status"}
    metadata = {"type": "object", "properties": {name: {} for name in _METADATA}}
    return {"properties": {**fields, "metadata": metadata}}


def _at(schema: Schema, steps: Sequence[str | int]) -> Schema | None:
    below: Schema | None = schema
    for step in steps:
        if below is None:
            return None
        below = (
            below.get("items") if isinstance(step, int) else below.get("properties", {}).get(step)
        )
    return below


def _places(schema: Schema, word: str, path: str = "") -> Iterator[str]:
    """Yield the paths of all fields with exactly this name, lists excluded."""
    for name, below in schema.get("properties", {}).items():
        here = f"{path}.{name}" if path else name
        if name.lower() == word.lower():
            yield here
        yield from _places(below, word, here)
