"""Reading of a schema in any format: its canonical form, or its fault.

The parser of a format is imported with the first schema of that format.
"""

from functools import lru_cache

from troth.resources.messaging.schemas.schema_text import (
    MOST_BYTES,
    MessageSchemaText,
    SchemaFault,
    SchemaType,
)

REMEMBERED = 512


@lru_cache(maxsize=REMEMBERED)
def read_schema(
    text: str, type_: SchemaType = SchemaType.JSON_SCHEMA, message: str = ""
) -> MessageSchemaText | SchemaFault:
    """Return a schema in canonical form, or its fault.

    `message` is the full name of the Protobuf message, and empty for the other formats. Reasons of
    a fault: `SchemaTooLarge`, `SchemaInvalid`, `SchemaRefersElsewhere`.
    """
    if len(text.encode("utf-8", "surrogatepass")) > MOST_BYTES:
        fault = f"the schema is longer than {MOST_BYTES // 1024} KiB; shorten it"
        return SchemaFault("SchemaTooLarge", fault)
    match type_:
        case SchemaType.JSON_SCHEMA:
            from troth.resources.messaging.schemas import json_schema  # noqa: PLC0415

            found = json_schema.read(text)
        case SchemaType.AVRO:
            from troth.resources.messaging.schemas import avro  # noqa: PLC0415

            found = avro.read(text)
        case SchemaType.PROTOBUF:
            from troth.resources.messaging.schemas import protobuf  # noqa: PLC0415

            found = protobuf.read(text, message)
    if isinstance(found, SchemaFault):
        return found
    return MessageSchemaText(type_, found, message)
