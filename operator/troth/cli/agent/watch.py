"""Looks at a node's table of connections again and again, and prints what is new."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from math import ceil
from pathlib import Path

from troth.audit.traffic.agent_lines import MOST_ADDRESSES, Summary, all_lines, pair_line
from troth.audit.traffic.conntrack import (
    Connection,
    MalformedLineError,
    connection,
    own_addresses,
)
from troth.audit.traffic.pairs import Pairs


@dataclass(frozen=True, slots=True)
class Tables:
    """Files of the kernel, of the network namespace of a node."""

    conntrack: Path
    fib_trie: Path
    if_inet6: Path

    @classmethod
    def below(cls, folder: Path) -> "Tables":
        """Return the files in a folder such as `/proc/net`."""
        return cls(folder / "nf_conntrack", folder / "fib_trie", folder / "if_inet6")


@dataclass(slots=True)
class Watch:
    """What an agent has seen so far."""

    tables: Tables
    node: str
    now: Callable[[], datetime]
    every: timedelta
    """Time between two summaries."""
    pairs: Pairs = field(default_factory=Pairs)
    _malformed: int = 0
    _problem: str = ""
    _began: datetime | None = None
    _summarized: datetime | None = None
    _looked: datetime | None = None
    _gap: timedelta = timedelta()

    def look(self) -> Iterator[str]:
        """Look at the table once and yield the lines to print: new pairs, or all of them."""
        now = self.now()
        began = self._began or now
        self._began = began
        self._gap = max(self._gap, now - (self._looked or began))
        problem = ""
        try:
            new = self.pairs.look(self._connections(), now)
            self._looked = now
        except OSError as error:
            new, problem = [], f"cannot read the table of connections: {error.strerror}"
        due = self._summarized is None or now - self._summarized >= self.every
        if due or problem != self._problem:
            self._problem, self._summarized = problem, now
            yield from all_lines(self._summary(began, now), self.pairs)
        else:
            yield from (pair_line(each, self.pairs[each]) for each in new)

    def last(self) -> Iterator[str]:
        """Yield the lines to print at the end."""
        if self._began is not None:
            yield from all_lines(self._summary(self._began, self.now()), self.pairs)

    def _connections(self) -> Iterator[Connection]:
        with self.tables.conntrack.open(encoding="ascii", errors="replace") as lines:
            for line in lines:
                try:
                    found = connection(line.rstrip("\n"))
                except MalformedLineError:
                    self._malformed += 1
                    continue
                if found is not None:
                    yield found

    def _summary(self, began: datetime, now: datetime) -> Summary:
        addresses = own_addresses(_text(self.tables.fib_trie), _text(self.tables.if_inet6))
        return Summary(
            self.node,
            addresses[:MOST_ADDRESSES],
            began,
            now,
            self._malformed,
            self.pairs.dropped,
            self._problem,
            ceil(self._gap.total_seconds()),
        )


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii", errors="replace")
    except OSError:  # such as on a node without IPv6
        return ""
