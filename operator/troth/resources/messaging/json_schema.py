"""A message's JSON Schema, read: what it says in one form, or what is wrong with it.

Nothing is ever fetched: a schema that refers to another document is refused. Expressions are those
that are matched in linear time, so that no message keeps anybody busy.
"""

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NoReturn

from jsonschema_rs import RegexOptions, ValidationError, ValidationErrorKind, validator_for

from troth.resources.json_members import distinct
from troth.resources.messaging.schema_bounds import OutOfBounds, check_bounds, shown

MOST_BYTES = 64 * 1024
"""How long a schema may be, as UTF-8."""
MOST_OF_EXPRESSION = 512 * 1024
"""Bytes that one compiled expression may take."""
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
    """Why a schema cannot be used: a CamelCase reason, and a sentence that says what to mend."""

    reason: str
    message: str


@lru_cache(maxsize=REMEMBERED)
def read_schema(text: str) -> str | SchemaFault:
    """Return a JSON Schema as the one text in which it is handed on, or what is wrong with it.

    The draft is that of its `$schema`, 2020-12 without one. Reasons: `SchemaTooLarge`,
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
            "$schema names no draft that is known; write "
            "https://json-schema.org/draft/2020-12/schema, or leave it out"
        )
        return SchemaFault("SchemaInvalid", message)
    try:
        check_bounds(schema)
    except OutOfBounds as error:
        return SchemaFault(error.reason, str(error))
    standard = json.dumps(schema, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return _fault_of(standard) or standard


def schema_text(schema: dict[str, Any]) -> str:
    """Return a schema that is written in a resource as `read_schema` takes it."""
    return json.dumps(schema, ensure_ascii=False, separators=(",", ":"))


def _parsed(text: str) -> dict[str, Any] | SchemaFault:
    try:
        text.encode()  # half of a surrogate pair is no text
        schema = json.loads(text, object_pairs_hook=distinct, parse_constant=_refuse)
        json.dumps(schema, ensure_ascii=False, allow_nan=False).encode()
    except json.JSONDecodeError as error:
        message = f"the schema is not JSON: {error.msg} in line {error.lineno}"
        return SchemaFault("SchemaInvalid", message)
    except ValueError:
        message = (
            "the schema is not JSON that everybody reads alike; look for a member that is there "
            "twice, a number that is too great, or half of a surrogate pair"
        )
        return SchemaFault("SchemaInvalid", message)
    except RecursionError:
        return SchemaFault("SchemaTooLarge", "the schema nests too deeply; take levels out of it")
    if not isinstance(schema, dict):
        return SchemaFault("SchemaInvalid", "the schema is not a JSON object; write it as one")
    return schema


def _refuse(_: str) -> NoReturn:
    raise ValueError("no number of JSON")


def _fault_of(schema: str) -> SchemaFault | None:
    """Compile a schema within bounds; return why that fails."""
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
            "not an expression that is matched in linear time and little room; write it without "
            "look-around, back references and large repetitions"
        )
    return shown(error.message)
