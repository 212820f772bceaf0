"""Schema of a kind, and all schemas within it."""

from collections.abc import Iterator
from typing import Any

from troth.resources.kinds import Kind
from troth.resources.schema.crd import custom_resource_definition


def schema(kind: Kind) -> Any:
    return custom_resource_definition(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]


def parts(schema: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every schema within a schema, with its path."""
    yield path, schema
    for name, part in (schema.get("properties") or {}).items():
        yield from parts(part, f"{path}.{name}")
    for word in ("items", "additionalProperties"):
        if isinstance(schema.get(word), dict):
            yield from parts(schema[word], f"{path}[]")
