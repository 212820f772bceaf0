"""Aggregates connections into pairs, in a bounded amount of memory."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from troth.audit.traffic.conntrack import Connection

MOST_PAIRS = 20_000
"""Most pairs that are remembered; the one that was seen least recently is dropped first."""
MOST_CONNECTIONS = 100_000
"""Maximum number of connections of one look that are compared with those of the next."""


class Pair(NamedTuple):
    """Source, destination and port of connections."""

    source: str
    destination: str
    port: int
    protocol: str


@dataclass(slots=True)
class Sighting:
    """How often and when the connections of a pair were seen."""

    connections: int
    first_seen: datetime
    last_seen: datetime


@dataclass(slots=True)
class Pairs:
    """All pairs that were seen, the least recently seen one first."""

    most: int = MOST_PAIRS
    dropped: int = 0
    """Number of pairs that were dropped because there were too many."""
    _seen: dict[Pair, Sighting] = field(default_factory=dict)
    _open: set[int] = field(default_factory=set)
    """Hashes of the connections of the last look."""

    def look(self, connections: Iterable[Connection], now: datetime) -> list[Pair]:
        """Take in all connections of one look at the table; return the pairs that are new.

        A connection that the last look had too is not counted again.
        """
        new: list[Pair] = []
        still_open: set[int] = set()
        present: set[Pair] = set()
        for each in connections:
            pair = Pair(*each[:4])
            key = hash(each)
            is_new = key not in self._open and key not in still_open
            if len(still_open) < MOST_CONNECTIONS:
                still_open.add(key)
            sighting = self._seen.get(pair)
            if sighting is None:
                self._seen[pair] = Sighting(1, now, now)
                new.append(pair)
                present.add(pair)
                self._forget()
                continue
            sighting.connections += is_new
            if pair not in present:
                present.add(pair)
                self._seen[pair] = self._seen.pop(pair)
            sighting.last_seen = now
        self._open = still_open
        return [each for each in new if each in self._seen]

    def _forget(self) -> None:
        if len(self._seen) > self.most:
            del self._seen[next(iter(self._seen))]
            self.dropped += 1

    def __len__(self) -> int:
        return len(self._seen)

    def __getitem__(self, pair: Pair) -> Sighting:
        return self._seen[pair]

    def items(self) -> Iterator[tuple[Pair, Sighting]]:
        """Yield all pairs, the least recently seen one first."""
        yield from self._seen.items()
