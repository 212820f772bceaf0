"""The sizes of everything that an object holds, by the path of attributes that leads there."""

from collections import Counter, deque
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import Any

OURS = "troth."
CONTAINERS = (Mapping, AbstractSet, list, tuple, deque)


def holdings(root: object, name: str) -> Counter[str]:
    """Return the number of elements in the containers at each path below an object of Troth's.

    All elements of a container have one path, `[]`. Shared objects count once.
    """
    sizes: Counter[str] = Counter()
    seen: set[int] = set()
    left: list[tuple[str, object]] = [(name, root)]
    while left:
        path, each = left.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        inside = list(_inside(each))
        if isinstance(each, CONTAINERS):
            sizes[path] += len(each)
            left += [(f"{path}[]", one) for _, one in inside]
        else:
            left += [(f"{path}.{step}", one) for step, one in inside]
    return sizes


def _inside(value: Any) -> Iterator[tuple[str, object]]:
    match value:
        case Mapping():
            for key, each in list(value.items()):
                yield "", key
                yield "", each
        case set() | frozenset() | list() | tuple() | deque():
            for each in list(value):
                yield "", each
        case _ if type(value).__module__.startswith(OURS):
            for step in _attributes(value):
                yield step, getattr(value, step, None)


def _attributes(value: object) -> set[str]:
    slots = {
        each for kind in type(value).__mro__ for each in getattr(kind, "__slots__", ()) if each
    }
    slots = {
        f"_{type(value).__name__.lstrip('_')}{each}" if each.startswith("__") else each
        for each in slots
    }
    return {*slots, *getattr(value, "__dict__", {})} - {"__weakref__"}
