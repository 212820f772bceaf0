"""Shares of a document of limited size among the namespaces whose entries it holds.

Each namespace may use its share: the room divided by the number of namespaces. What others leave
free, it may use too. So without enough room for all, the namespaces above a level are cut to it,
and nothing that another namespace declares takes a share from one that stays below its own.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def level_of(sizes: Iterable[int], room: int) -> int:
    """Return the largest size to which parts must be cut so that all fit into the room together.

    Parts that are not larger stay whole. It is at least the room divided by the number of parts.
    """
    left, level = room, room
    ascending = sorted(sizes)
    for place, size in enumerate(ascending):
        level = left // (len(ascending) - place)
        if size > level:
            return level
        left -= size
    return room


def without_room(
    namespaces: Iterable[Collection[T]], room: int, weigh: Callable[[T], int]
) -> Iterator[T]:
    """Yield the entries for which there is no room; those of a namespace come oldest first.

    A namespace above the level loses its newest entries, so that the others fit.
    """
    parts = [(entries, sum(map(weigh, entries))) for entries in namespaces]
    level = level_of((size for _, size in parts), room)
    for entries, size in parts:
        left = level
        for entry in entries if size > level else ():
            left -= weigh(entry)
            if left < 0:
                yield entry
