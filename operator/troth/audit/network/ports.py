"""Sets of ports: ranges of each protocol."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

PROTOCOLS = ("TCP", "UDP", "SCTP")
LAST = 65535
_MOST_SHOWN = 4


class Range(NamedTuple):
    """Ports of a protocol from `first` to `last`, both included."""

    protocol: str
    first: int
    last: int

    def __str__(self) -> str:
        if (self.first, self.last) == (1, LAST):
            return f"all ports ({self.protocol})"
        numbers = str(self.first) if self.first == self.last else f"{self.first}-{self.last}"
        return f"{numbers}/{self.protocol}"


Ports = tuple[Range, ...]
"""Ranges that do not overlap, sorted."""

NONE: Ports = ()
ALL: Ports = tuple(Range(each, 1, LAST) for each in sorted(PROTOCOLS))


def union(ranges: Iterable[Range]) -> Ports:
    """Return the ports of any of these ranges."""
    found: list[Range] = []
    for each in sorted(ranges):
        before = found[-1] if found else None
        if before and before.protocol == each.protocol and each.first <= before.last + 1:
            found[-1] = before._replace(last=max(before.last, each.last))
        else:
            found.append(each)
    return tuple(found)


def common(some: Ports, others: Ports) -> Ports:
    """Return the ports of both sets."""
    if some is ALL or others is ALL:
        return others if some is ALL else some
    return union(
        Range(one.protocol, max(one.first, two.first), min(one.last, two.last))
        for one in some
        for two in others
        if one.protocol == two.protocol and max(one.first, two.first) <= min(one.last, two.last)
    )


def minus(ports: Ports, without: Ports) -> Ports:
    """Return the ports of the first set that the second does not have."""
    left = list(ports)
    for taken in without:
        left = [part for each in left for part in _cut(each, taken)]
    return tuple(left)


def _cut(each: Range, taken: Range) -> Iterator[Range]:
    if each.protocol != taken.protocol or taken.last < each.first or each.last < taken.first:
        yield each
        return
    if each.first < taken.first:
        yield each._replace(last=taken.first - 1)
    if taken.last < each.last:
        yield each._replace(first=taken.last + 1)


def shown(ports: Ports) -> str:
    """Return ports for a reader, at most the first ranges."""
    whole = {each.protocol for each in ports if (each.first, each.last) == (1, LAST)}
    if whole == {*PROTOCOLS}:
        return "all ports"
    more = " and others" if len(ports) > _MOST_SHOWN else ""
    return ", ".join(map(str, ports[:_MOST_SHOWN])) + more
