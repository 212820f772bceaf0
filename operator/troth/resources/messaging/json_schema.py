"""Reading of a message's JSON Schema: its canonical form, or its fault.

Nothing is fetched: a schema that refers to another document is rejected. Regular expressions must
match in linear time, so that no message can block a client.
"""

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NoReturn

from jsonschema_rs import RegexOptions, ValidationError, ValidationErrorKind, validator_for

from troth.resources.json_members import distinct
from troth.resources.messaging.schema_bounds import OutOfBounds, check_bounds, shown

MOST_BYTES = 64 * 1024
"""Maximum length of a schema in bytes of UTF-8."""
MOST_OF_EXPRESSION = 512 * 1024
"""Maximum size of one compiled regular expression in bytes."""
REMEMBERED = 512

_DRAFTS = frozenset(
    {
        "https://json-schema.org/draft/2020-12/schema",
        "https://json-schema.org/draft/2019-09/schema",
        "http://json-schema.org/draft-07/schema",
        "http://json-schema.org/draft-06/schema",
        "http://json-schema.org/draft-04/schema",
    }
)


@dataclass(frozen=True, slots=True)
class SchemaFault:
    """Fault of a schema: a CamelCase reason, and a message that says what to change."""

    reason: str
    message: str


@lru_cache(maxsize=REMEMBERED)
def read_schema(text: str) -> str | SchemaFault:
    """Return a JSON Schema in canonical form, or its fault.

    The draft is that of `$schema`, by default 2020-12. Reasons of a fault: `SchemaTooLarge`,
    `SchemaInvalid`, `SchemaRefersElsewhere`.
    """
    if len(text.encode("utf-8", "surrogatepass")) > MOST_BYTES:
        message = f"the schema is longer than {MOST_BYTES // 1024} KiB; shorten it"
        return SchemaFault("SchemaTooLarge", message)
    schema = _parsed(text)
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
    standard = json.dumps(schema, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return _fault_of(standard) or standard


def schema_text(schema: dict[str, Any]) -> str:
    """Return the schema of a resource as text for `read_schema`."""
    return json.dumps(schema, ensure_ascii=False, separators=(",", ":"))


def _parsed(text: str) -> dict[str, Any] | SchemaFault:
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


def _refuse(_: str) -> NoReturn:
    raise ValueError("not a JSON number")


def _fault_of(schema: str) -> SchemaFault | None:
    """Compile a schema within bounds, and return its fault if that fails."""
    limits = RegexOptions(size_limit=MOST_OF_EXPRESSION, dfa_size_limit=MOST_OF_EXPRESSION)
    try:
        validator_for(schema, offline=True, pattern_options=limits)
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
