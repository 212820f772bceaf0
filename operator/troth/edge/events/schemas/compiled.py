"""Validators of schemas, each compiled once."""

from functools import lru_cache
from typing import Final

from troth.edge.events.schemas.validator import UnusableSchemaError, Validator
from troth.resources.messaging.schemas.schema_text import SchemaType

REMEMBERED: Final = 64
"""Number of validators that are kept. A text hashes once, so a look-up costs no digest."""


def compile(  # noqa: A001 - what it does
    schema_type: str, text: str, message: str | None = None
) -> Validator:
    """Return the validator of a schema.

    `schema_type` is JSONSchema, Avro or Protobuf; `message` is the full name of the Protobuf
    message. Raises `UnusableSchemaError` for a schema that cannot be compiled, and
    `ModuleNotFoundError` if the library of the format is not installed.
    """
    found = _compiled(schema_type, text, message or "")
    if isinstance(found, str):
        raise UnusableSchemaError(found)
    return found


@lru_cache(maxsize=REMEMBERED)
def _compiled(schema_type: str, text: str, message: str) -> Validator | str:
    """Return a validator, or why there is none: a broken schema is compiled once too."""
    try:
        return _made(schema_type, text, message)
    except UnusableSchemaError as error:
        return str(error)
    except ModuleNotFoundError as error:
        module = (error.name or "").partition(".")[0]
        if module in ("", "troth"):
            raise
        sentence = f"module {module} is not installed; run: pip install 'troth[events]'"
        raise ModuleNotFoundError(sentence, name=error.name) from None


def _made(schema_type: str, text: str, message: str) -> Validator:
    match schema_type:
        case SchemaType.JSON_SCHEMA:
            from troth.edge.events.schemas.json_schema import JSONValidator  # noqa: PLC0415

            return JSONValidator(text)
        case SchemaType.AVRO:
            from troth.edge.events.schemas.avro import AvroValidator  # noqa: PLC0415

            return AvroValidator(text)
        case SchemaType.PROTOBUF:
            from troth.edge.events.schemas.protobuf import ProtobufValidator  # noqa: PLC0415

            return ProtobufValidator(text, message)
    raise UnusableSchemaError(f"{schema_type!r} is not a format of schemas")
