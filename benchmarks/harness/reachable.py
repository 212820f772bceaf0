"""Memory of the objects that others keep, by the sizes that Python reports."""

import gc
import sys
from collections import Counter
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType

_PROGRAM = (type, ModuleType, FunctionType, BuiltinFunctionType, MethodType)
"""Types of what is in memory once, whatever the number of objects."""


class Reachable:
    """Counts each object once, for the first root that leads to it."""

    def __init__(self) -> None:
        self.objects: Counter[str] = Counter()
        """Number of counted objects, by name of their type."""
        self._seen: set[int] = set()
        self._kept: list[object] = []

    def size(self, *roots: object) -> int:
        """Return the bytes of the objects that roots lead to and no earlier root did."""
        self._kept += roots  # an address of a deleted root could be used again
        size, ahead = 0, list(roots)
        while ahead:
            each = ahead.pop()
            if id(each) in self._seen or isinstance(each, _PROGRAM):
                continue
            self._seen.add(id(each))
            self.objects[type(each).__name__] += 1
            size += sys.getsizeof(each)
            ahead += gc.get_referents(each)
        return size
