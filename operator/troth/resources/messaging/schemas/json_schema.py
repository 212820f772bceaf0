"""Reading of a JSON Schema: its canonical form, or its fault.

Nothing is fetched: a schema that refers to another document is rejected. Regular expressions must
match in linear time, so that no message can block a client.
"""

from typing import Any

from jsonschema_rs import RegexOptions, ValidationError, ValidationErrorKind, validator_for

from troth.resources.messaging.schemas import json_text
from troth.resources.messaging.schemas.json_bounds import OutOfBounds, check_bounds
from troth.resources.messaging.schemas.json_text import shown
from troth.resources.messaging.schemas.schema_text import SchemaFault

MOST_OF_EXPRESSION = 512 * 1024
"""Maximum size of one compiled regular expression in bytes."""

_DRAFTS = frozenset(
    {
        "https://json-schema.org/draft/2020-12/schema",
        "https://json-schema.org/draft/2019-09/schema",
        "http://json-schema.org/draft-07/schema",
        "http://json-schema.org/draft-06/schema",
        "http://json-schema.org/draft-04/schema",
    }
)


def read(text: str) -> str | SchemaFault:
    """Return a JSON Schema in canonical form, or its fault.

    The draft is that of `$schema`, by default 2020-12.
    """
    schema = json_text.parse(text)
    if isinstance(schema, SchemaFault):
        return schema
    draft = schema.get("$schema")
    if draft is not None and (not isinstance(draft, str) or draft.rstrip("#") not in _DRAFTS):
        message = (
            "$schema names an unknown draft; write https://json-schema.org/draft/2020-12/schema, "
            "or remove it"
        )
        return SchemaFault("SchemaInvalid", message)
    try:
        check_bounds(schema)
    except OutOfBounds as error:
        return SchemaFault(error.reason, str(error))
    standard = json_text.canonical(schema)
    return _fault_of(standard) or standard


def compiled(text: str) -> Any:  # noqa: ANN401 - the validator of the schema's draft
    """Return the validator of a schema; its regular expressions match in linear time.

    Raises `ValidationError` or `ValueError` for a schema that cannot be compiled.
    """
    limits = RegexOptions(size_limit=MOST_OF_EXPRESSION, dfa_size_limit=MOST_OF_EXPRESSION)
    return validator_for(text, offline=True, pattern_options=limits)


def _fault_of(schema: str) -> SchemaFault | None:
    """Compile a schema within bounds, and return its fault if that fails."""
    try:
        compiled(schema)
    except ValidationError as error:
        return SchemaFault("SchemaInvalid", f"{_place(error)}: {_sentence(error)}")
    except ValueError as error:
        return SchemaFault("SchemaInvalid", f"the schema cannot be read: {shown(str(error))}")
    return None


def _place(error: ValidationError) -> str:
    path = "/".join(str(part) for part in error.instance_path)
    return shown(f"the schema, at /{path}") if path else "the schema"


def _sentence(error: ValidationError) -> str:
    if isinstance(error.kind, ValidationErrorKind.Format) and error.kind.format == "regex":
        return (
            "not an expression that can be matched in linear time and little memory; write it "
            "without look-around, back references and large repetitions"
        )
    return shown(error.message)
