"""Validation rules, each stated once for both judges: the API server (as CEL) and the model.

A rule carries its CEL expression, the same predicate in Python, and one sentence that says what
to write instead. The API server and pydantic therefore refuse the same objects in the same words;
`tests/cluster/test_crds.py` holds them to it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

VALIDATIONS = "x-kubernetes-validations"


@dataclass(frozen=True, slots=True)
class Rule:
    """A predicate over one value; usable in `Annotated[...]` or in a model's `rules`.

    `cel` sees the value as `self`; `holds` sees it as its argument.
    """

    cel: str
    message: str
    holds: Callable[[Any], bool]

    def check(self, value: Any) -> Any:  # noqa: ANN401 - a rule passes through whatever it is put on
        """Return `value`, or raise with the rule's sentence."""
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
    """Marks a field that may be set once. The API server judges updates."""

    message: str

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        described = handler(schema)
        transition = {"rule": "self == oldSelf", "message": self.message}
        described[VALIDATIONS] = [*described.get(VALIDATIONS, []), transition]
        return described
