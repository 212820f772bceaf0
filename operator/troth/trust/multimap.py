"""A map from keys to sets of values, which holds no key without a value."""

from collections.abc import ItemsView, KeysView
from collections.abc import Set as AbstractSet
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Multimap(Generic[K, V]):
    """Sets of values by key.

    A set ends with its last value. Otherwise names that are used once, such as those of preview
    environments, would stay in memory for as long as the process runs.
    """

    __slots__ = ("_sets",)

    def __init__(self) -> None:
        self._sets: dict[K, set[V]] = {}

    def add(self, key: K, value: V) -> None:
        """Add a value to the set of a key."""
        known = self._sets.get(key)
        if known is None:
            self._sets[key] = {value}
        else:
            known.add(value)

    def discard(self, key: K, value: V) -> None:
        """Remove a value from the set of a key, if it is there."""
        known = self._sets.get(key)
        if known is not None:
            known.discard(value)
            if not known:
                del self._sets[key]

    def of(self, key: K) -> AbstractSet[V]:
        """Return the current set of a key, which later changes may change too; empty for none."""
        return self._sets.get(key) or frozenset()

    def keys(self) -> KeysView[K]:
        """Return the keys that have values."""
        return self._sets.keys()

    def items(self) -> ItemsView[K, set[V]]:
        """Return the keys with their sets."""
        return self._sets.items()
