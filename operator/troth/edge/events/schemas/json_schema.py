"""Validator of data in JSON."""

from collections.abc import Iterable
from typing import Any

from jsonschema_rs import ValidationError

from troth.edge.events.schemas.validator import (
    DEEPEST,
    MOST_BYTES,
    MOST_VALUES,
    TOO_LARGE,
    Checked,
    UnusableSchemaError,
    place_of,
)
from troth.pki.encodings import strict_json
from troth.resources.messaging.schemas import json_schema, json_text

_NOT_JSON = (
    f"the data is not JSON that every parser reads alike, has more than {MOST_VALUES} values, or "
    f"is nested deeper than {DEEPEST} levels"
)


class JSONValidator:
    """Parses JSON strictly, and validates it against a JSON Schema."""

    def __init__(self, text: str) -> None:
        """Compile a schema; raises `UnusableSchemaError`."""
        try:
            self._validator = json_schema.compiled(text)
        except (ValidationError, ValueError) as error:
            raise UnusableSchemaError("the JSON Schema cannot be compiled") from error
        schema = json_text.parse(text)
        self._names = frozenset(_property_names(schema))

    def check(self, data: bytes) -> Checked:
        """Return the parsed JSON, or why it does not satisfy the schema."""
        if len(data) > MOST_BYTES:
            return Checked(fault=TOO_LARGE)
        try:
            payload = strict_json.parse_payload(data, most=MOST_VALUES, deepest=DEEPEST)
        except ValueError:
            return Checked(fault=_NOT_JSON)
        if self._validator.is_valid(payload):
            return Checked(payload)
        return Checked(fault=self._fault(payload))

    def _fault(self, payload: Any) -> str:  # noqa: ANN401 - JSON is anything
        try:
            self._validator.validate(payload)
        except ValidationError as error:
            place = place_of([self._step(each) for each in error.instance_path])
            return f"at {place}: the data does not satisfy {error.kind.name}"
        return "the data does not satisfy the schema"

    def _step(self, step: str | int) -> str:
        """Return a step of a path. A name that the schema does not have is the sender's."""
        return str(step) if isinstance(step, int) or step in self._names else "*"


def _property_names(schema: object) -> Iterable[str]:
    """Yield the names of properties that a schema has."""
    waiting = [schema]
    while waiting:
        each = waiting.pop()
        named = each.get("properties") if isinstance(each, dict) else None
        if isinstance(named, dict):
            yield from named
        waiting += json_text.members(each)
