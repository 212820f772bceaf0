"""Strict reading of schemas that are written as JSON, and their canonical form."""

import json
from collections.abc import Mapping
from typing import Any, NoReturn

from troth.resources.json_members import distinct
from troth.resources.messaging.schemas.schema_text import SchemaFault


def parse(text: str) -> dict[str, Any] | SchemaFault:
    """Return the object that a text is, or the fault of the text."""
    try:
        text.encode()  # an unpaired surrogate raises an error
        schema = json.loads(text, object_pairs_hook=distinct, parse_constant=_refuse)
        json.dumps(schema, ensure_ascii=False, allow_nan=False).encode()
    except json.JSONDecodeError as error:
        message = f"the schema is not JSON: {error.msg} in line {error.lineno}"
        return SchemaFault("SchemaInvalid", message)
    except ValueError:
        message = (
            "the schema is ambiguous JSON; look for a repeated member, a number that is "
            "too large, or half of a surrogate pair"
        )
        return SchemaFault("SchemaInvalid", message)
    except RecursionError:
        return SchemaFault("SchemaTooLarge", "the schema nests too deeply; remove levels from it")
    if not isinstance(schema, dict):
        return SchemaFault("SchemaInvalid", "the schema is not a JSON object; write it as one")
    return schema


def canonical(schema: Mapping[str, Any]) -> str:
    """Return a schema as JSON with sorted members and without spaces."""
    return json.dumps(schema, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def written(schema: Any) -> str:  # noqa: ANN401 - a schema, or a value in one
    """Return the schema of a resource as text for `read_schema`."""
    return json.dumps(schema, ensure_ascii=False, separators=(",", ":"))


def depth(value: object) -> int:
    """Return the depth of objects and arrays."""
    found, level = 0, [value]
    while level := [each for each in level if isinstance(each, dict | list)]:
        found += 1
        level = [member for each in level for member in members(each)]
    return found


def members(value: object) -> list[Any]:
    """Return the values directly in an object or array."""
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def shown(text: str) -> str:
    """Return a text, shortened for a message."""
    return text if len(text) <= 200 else f"{text[:199]}…"  # noqa: PLR2004 - a line or two


def _refuse(_: str) -> NoReturn:
    raise ValueError("not a JSON number")
