"""Sharing of equal models, so that what many objects say is in memory once.

In a fleet, a name is in the specs and statuses of all its peers, and most conditions are alike. A
value that is known is not validated again either.
"""

import marshal
from functools import lru_cache
from typing import Any, Final
from weakref import WeakValueDictionary

from pydantic import BaseModel, ValidatorFunctionWrapHandler, WrapValidator

TABLES: Final[list[WeakValueDictionary[bytes, BaseModel]]] = []
"""The known models of each field that shares them. The benchmark of memory counts them."""


def shared() -> WrapValidator:
    """Return a validator that yields one model for all equal JSON values of a field.

    Use it for models that depend on nothing but the JSON. A model is forgotten with its last user.
    """
    known = WeakValueDictionary[bytes, BaseModel]()
    TABLES.append(known)

    def share(value: Any, validate: ValidatorFunctionWrapHandler) -> object:  # noqa: ANN401 - JSON
        try:
            # Unlike an equality of values, this distinguishes 1 from true, and takes only JSON.
            # Version 2 has no references, with which equal values differ.
            key = marshal.dumps(value, 2)
        except ValueError:  # a model already
            return validate(value)
        found = known.get(key)
        if found is None:
            found = known[key] = validate(value)
        return found

    return WrapValidator(share)


def share_names(model: BaseModel) -> None:
    """Let a new model share the set of its given fields, 200 bytes or more, with others.

    pydantic copies the set before it changes it.
    """
    names = _names(frozenset(model.__pydantic_fields_set__))
    object.__setattr__(model, "__pydantic_fields_set__", names)


@lru_cache(maxsize=4096)
def _names(names: frozenset[str]) -> set[str]:
    return set(names)
