"""Reading of an Avro schema: its canonical form, or its fault.

Nothing is fetched: a schema must define each type that it names.
"""

import json
from typing import Any

from fastavro import parse_schema

from troth.resources.messaging.schemas import json_text
from troth.resources.messaging.schemas.avro_parser import AvroError, parse_avro
from troth.resources.messaging.schemas.avro_types import AvroType
from troth.resources.messaging.schemas.schema_text import SchemaFault

DEEPEST = 64
"""Maximum depth of objects and arrays."""
MOST_NAMED = 500
"""Maximum number of records, enums and fixed types."""


def read(text: str) -> str | SchemaFault:
    """Return an Avro schema in canonical form, or its fault."""
    schema = json_text.parse(text)
    if isinstance(schema, SchemaFault):
        return schema
    if json_text.depth(schema) > DEEPEST:
        message = f"the schema nests deeper than {DEEPEST} levels; remove levels from it"
        return SchemaFault("SchemaTooLarge", message)
    if _named(schema) > MOST_NAMED:
        message = f"the schema defines more than {MOST_NAMED} types with names; split the topic"
        return SchemaFault("SchemaTooLarge", message)
    try:
        parse_avro(schema)
    except AvroError as error:
        return SchemaFault("SchemaInvalid", str(error))
    try:
        compiled(json_text.canonical(schema))
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        message = f"the schema cannot be read: {json_text.shown(str(error))}"
        return SchemaFault("SchemaInvalid", message)
    return json_text.canonical(schema)


def compiled(text: str) -> tuple[Any, AvroType]:
    """Return a canonical schema as fastavro reads it, and as its types.

    Raises `AvroError`, or what fastavro raises for a schema that it cannot read: `ValueError`,
    `LookupError`, `TypeError` or `AttributeError`.
    """
    schema = json.loads(text)
    return parse_schema(schema), parse_avro(schema)


def _named(schema: object) -> int:
    """Return the number of named types at most."""
    count, waiting = 0, [schema]
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict) and each.get("type") in ("record", "enum", "fixed"):
            count += 1
        waiting += json_text.members(each)
    return count
