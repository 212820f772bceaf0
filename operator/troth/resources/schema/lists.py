"""Lists without duplicates, for the API server and the models.

The API server enforces `x-kubernetes-list-type`. The models must reject the same lists, or `troth
plan` would accept a manifest that `kubectl apply` rejects.
"""

from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, JsonValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema


def keyed_by(*keys: str) -> dict[str, JsonValue]:
    """Mark a list whose items the API server identifies by the fields `keys`.

    The models do not check it: use it in a status, which only Troth writes.
    """
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(keys)}


@dataclass(frozen=True, slots=True)
class Distinct:
    """Marks a list of unique items, compared as a whole or by the fields `keys`."""

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
            return {**described, **keyed_by(*self.keys)}
        return {**described, "x-kubernetes-list-type": "set"}

    def _check(self, items: tuple[Any, ...]) -> tuple[Any, ...]:
        identity: Callable[[Any], Any] = attrgetter(*self.keys) if self.keys else lambda item: item
        seen = set()
        for item in map(identity, items):
            if item in seen:
                told = " ".join(item) if isinstance(item, tuple) else str(item)
                raise PydanticCustomError(
                    "duplicate", "list {item} once; it is listed twice", {"item": told}
                )
            seen.add(item)
        return items


ATOMIC: dict[str, JsonValue] = {"x-kubernetes-list-type": "atomic"}
"""Marks a list that is replaced as a whole."""
SET = Distinct()
"""Marks a list of unique items."""
BY_NAME = Distinct(("name",))
"""Marks a list whose items have unique names."""
BY_SUFFIX = Distinct(("suffix",))
"""Marks a list whose items have unique suffixes."""
BY_KIND_AND_NAME = Distinct(("kind", "name"))
"""Marks a list whose items have a unique kind and name."""
