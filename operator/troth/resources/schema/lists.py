"""Lists in which nothing stands twice, for both judges.

The API server holds a list to its `x-kubernetes-list-type`; the models must refuse the same lists,
or `troth plan` would promise what `kubectl apply` refuses.
"""

from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, JsonValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema


@dataclass(frozen=True, slots=True)
class Distinct:
    """Marks a list whose items differ: in themselves, or in the fields that are their `keys`."""

    keys: tuple[str, ...] = ()

    def __get_pydantic_core_schema__(
        self,
        source: Any,  # noqa: ANN401 - pydantic's signature
        handler: GetCoreSchemaHandler,
    ) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        described = handler(schema)
        if self.keys:
            return {
                **described,
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": list(self.keys),
            }
        return {**described, "x-kubernetes-list-type": "set"}

    def _check(self, items: tuple[Any, ...]) -> tuple[Any, ...]:
        identity: Callable[[Any], Any] = attrgetter(*self.keys) if self.keys else lambda item: item
        seen = set()
        for item in map(identity, items):
            if item in seen:
                told = " ".join(item) if isinstance(item, tuple) else str(item)
                raise PydanticCustomError(
                    "duplicate", "list {item} once; it is there twice", {"item": told}
                )
            seen.add(item)
        return items


ATOMIC: dict[str, JsonValue] = {"x-kubernetes-list-type": "atomic"}
"""A list that is replaced as a whole."""
SET = Distinct()
"""No item may stand twice."""
BY_NAME = Distinct(("name",))
"""No two items may have the same name."""
BY_KIND_AND_NAME = Distinct(("kind", "name"))
"""No two items may have the same kind and name."""
