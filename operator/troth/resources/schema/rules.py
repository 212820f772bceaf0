"""Validation rules, each defined once for the API server (as CEL) and the model.

A rule has its CEL expression, the same predicate in Python, and a message that says what to write.
So the API server and pydantic reject the same objects with the same message;
`tests/cluster/test_crds.py` checks it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

VALIDATIONS = "x-kubernetes-validations"


@dataclass(frozen=True, slots=True)
class Rule:
    """Predicate over one value, for `Annotated[...]` or a model's `rules`.

    `cel` has the value as `self`, `holds` as its argument.
    """

    cel: str
    message: str
    holds: Callable[[Any], bool]

    def check(self, value: Any) -> Any:  # noqa: ANN401 - a rule fits any type
        """Return `value`, or raise an error with the rule's message."""
        if not self.holds(value):
            raise PydanticCustomError("rule", "{sentence}", {"sentence": self.message})
        return value

    def as_validation(self) -> dict[str, str]:
        """Return the rule as an item of `x-kubernetes-validations`."""
        return {"rule": self.cel, "message": self.message}

    def __get_pydantic_core_schema__(
        self,
        source: Any,  # noqa: ANN401 - pydantic's signature
        handler: GetCoreSchemaHandler,
    ) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        described = handler(schema)
        described[VALIDATIONS] = [*described.get(VALIDATIONS, []), self.as_validation()]
        return described


@dataclass(frozen=True, slots=True)
class Immutable:
    """Marks a field that cannot change. The API server validates updates."""

    message: str

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        described = handler(schema)
        transition = {"rule": "self == oldSelf", "message": self.message}
        described[VALIDATIONS] = [*described.get(VALIDATIONS, []), transition]
        return described
