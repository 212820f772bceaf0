"""The index of dead letters: SQLite, with bounded memory.

It is synchronous; asyncio calls it in threads. One thread writes at a time, and readers do not wait
for it. Each write is one transaction, so a crash loses or repeats a whole batch and never a part.
"""

import sqlite3
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from heapq import merge
from itertools import islice
from pathlib import Path
from threading import Lock
from types import MappingProxyType
from typing import Any, Final

from troth.resources.messaging.topic_policy_status import DeadLetterCounts, ReasonCount
from troth.resources.references import Ref
from troth.resources.reviews.dead_letter_review import Letters
from troth.review.index.holds import Holds
from troth.review.index.portion import UNREADABLE, Portion, Settlement, Tally
from troth.review.index.rows import COLUMNS, COPY, DECIDE, INSERT, SETTLE, letter_of, row_of
from troth.review.index.schema import open_index, open_reader
from troth.review.index.selection import conditions
from troth.review.letters.letter import Letter, LetterState, Position

PAGE: Final = 512
"""Letters that are read from the file at once."""
_AT_ONCE = 5_000
_OPEN = (LetterState.PENDING, LetterState.QUARANTINED)


class LetterIndex:
    """The letters of all policies of one worker. Threads may share it."""

    def __init__(self, path: Path) -> None:
        """Open the file `path`, or create it. One that cannot be used is replaced by an empty one.

        Raises `sqlite3.Error` if the disk cannot be used.
        """
        self._db = open_index(path)
        self._reader = open_reader(path)
        self._writing, self._reading = Lock(), Lock()
        self._numbers: dict[Ref, int] = {}
        self.holds = Holds(self._transaction, self._read, self._in_parts)
        """Letters of the reviews that are carried out."""
        self._remove_orphans()

    # Writing

    def put(self, letters: Iterable[Letter]) -> None:
        """Add letters. One with a known ID is a copy: it counts only once the first is gone."""
        with self._transaction():
            self._put(letters)

    def feed(self, policy: Ref, portion: Portion) -> None:
        """Add what was read from the topic of a policy, in one transaction."""
        with self._transaction():
            number = self._number(policy)
            self._put(portion.letters)
            for each in portion.settlements:
                self._settle(number, each)
            self._db.executemany(
                "INSERT OR IGNORE INTO unreadable VALUES (?, ?, ?)",
                [(number, *each) for each in portion.unreadable],
            )
            self._db.executemany(
                "INSERT INTO positions VALUES (?, ?, ?) "
                "ON CONFLICT DO UPDATE SET next = max(next, excluded.next)",
                [(number, *each) for each in portion.next.items()],
            )

    def mark_gone(self, policy: Ref, partition: int, first_offset: int) -> None:
        """Mark the open letters of a partition that are below its first offset as gone."""
        number, now = self._number_of(policy), int(time.time())
        if number is None:
            return
        for state in _OPEN:
            self._in_parts(
                "UPDATE letters SET state = 'Gone', settled = ? WHERE (policy, partition, offset) "
                "IN (SELECT policy, partition, offset FROM letters WHERE policy = ? AND state = ? "
                "AND partition = ? AND offset < ? LIMIT ?)",
                (now, number, state.value, partition, first_offset),
            )
        self._in_parts(
            "DELETE FROM unreadable WHERE (policy, partition, offset) IN (SELECT policy, "
            "partition, offset FROM unreadable WHERE policy = ? AND partition = ? "
            "AND offset < ? LIMIT ?)",
            (number, partition, first_offset),
        )

    def mark_missing(self, letter: Letter) -> None:
        """Mark a letter as gone that is open and still at its place, such as after compaction."""
        with self._transaction():
            self._db.execute(
                "UPDATE letters SET state = 'Gone', settled = ? WHERE policy = ? "
                "AND id = ? AND partition = ? AND offset = ? "
                "AND state IN ('Pending', 'Quarantined')",
                (int(time.time()), self._number(letter.policy), letter.id, *letter.position),
            )

    def sweep(self, policy: Ref, before: datetime) -> None:
        """Remove letters that were settled, or gone, before a time. Quarantined ones stay."""
        number, end = self._number_of(policy), int(before.timestamp())
        if number is None:
            return
        self._in_parts(
            "DELETE FROM letters WHERE (policy, partition, offset) IN (SELECT policy, partition, "
            "offset FROM letters WHERE policy = ? AND settled < ? AND state <> 'Quarantined' "
            "LIMIT ?)",
            (number, end),
        )
        self._in_parts(
            "DELETE FROM decisions WHERE (policy, id) IN "
            "(SELECT policy, id FROM decisions WHERE policy = ? AND at < ? LIMIT ?)",
            (number, end),
        )

    def forget(self, policy: Ref) -> None:
        """Remove all that is known of a policy."""
        with self._transaction():
            self._db.execute("DELETE FROM policies WHERE namespace = ? AND name = ?", policy)
            self._numbers.pop(policy, None)
        self._remove_orphans()

    def set_incarnation(self, policy: Ref, incarnation: str) -> None:
        """Set which incarnation of the policy's topic the letters are from."""
        with self._transaction():
            self._db.execute(
                "UPDATE policies SET incarnation = ? WHERE number = ?",
                (incarnation, self._number(policy)),
            )

    def close(self) -> None:
        """Close the file."""
        with self._writing, self._reading:
            self._reader.close()
            self._db.close()

    # Reading

    def get(self, policy: Ref, id: str) -> Letter | None:  # noqa: A002 - its name
        """Return a letter, None if it is not known."""
        found = self._read(
            f"SELECT {COLUMNS} FROM letters WHERE policy = ? AND id = ?",  # noqa: S608 - no values
            (self._number_of(policy), id),
        )
        return letter_of(policy, found[0]) if found else None

    def select(
        self,
        policy: Ref,
        select: Letters,
        until: datetime | None,
        *,
        quarantined: bool = False,
        after: Position | None = None,
        states: Collection[LetterState] = (),
        identities: Mapping[Ref, Collection[str]] = MappingProxyType({}),
    ) -> Iterator[Letter]:
        """Yield the letters of a selection in the order of their places, at most `select.limit`.

        They are pending, or also quarantined, or in one of `states` if there are any. `until` is
        the time of the latest, and `after` the place behind which to begin. `identities` are the
        SPIFFE IDs of ServiceIdentities whose ServiceAccounts have other names. Letters are read as
        the iteration needs them, so later changes show.
        """
        chosen = set(states) or {LetterState.PENDING}
        if quarantined:
            chosen.add(LetterState.QUARANTINED)
        wanted = conditions(select, until, policy.namespace, identities)
        found = (
            self._pages(policy, each, wanted, after, min(select.limit, PAGE))
            for each in sorted(chosen)
        )
        return islice(merge(*found, key=lambda each: each.position), select.limit)

    def selected(
        self,
        policy: Ref,
        select: Letters,
        until: datetime,
        *,
        at: datetime,
        uid: str,
        ends: Mapping[int, int] | None = None,
    ) -> Iterator[Letter]:
        """Yield the letters that a review selected at a time, in the order of their places.

        These are the open ones, those that were settled since, and those that the review settled,
        which `uid` names. A quarantined letter is open only for a selection that lists IDs. `ends`
        are the offsets by partition below which the letters are, None for all that are indexed.
        """
        terms, values = conditions(select, until, policy.namespace, MappingProxyType({}))
        open_ones = "state IN ('Pending', 'Quarantined')" if select.ids else "state = 'Pending'"
        terms += f" AND ({open_ones} OR settled >= ? OR review_uid = ?)"
        wanted = terms, [*values, int(at.timestamp()), uid]
        found = merge(
            *(
                self._pages(policy, each, wanted, None, min(select.limit, PAGE))
                for each in sorted(LetterState)
            ),
            key=lambda each: each.position,
        )
        return islice((each for each in found if _is_below(each.position, ends)), select.limit)

    def counts(self, policy: Ref) -> DeadLetterCounts:
        """Return the numbers of a policy's letters for its status."""
        number = self._number_of(policy)
        tallies = self._read(
            "SELECT state, reason, count FROM tallies WHERE policy = ? AND count > 0", (number,)
        )
        ((oldest,),) = self._read(
            "SELECT min(time) FROM letters WHERE policy = ? AND state = 'Pending'", (number,)
        )
        pending = {reason: count for state, reason, count in tallies if state == "Pending"}
        return DeadLetterCounts(
            pending=sum(pending.values()),
            quarantined=sum(count for state, _, count in tallies if state == "Quarantined"),
            oldest=None if oldest is None else datetime.fromtimestamp(oldest, UTC),
            reasons=tuple(
                ReasonCount(reason=reason, count=count) for reason, count in sorted(pending.items())
            ),
            unreadable=sum(count for state, _, count in tallies if state == UNREADABLE),
        )

    def tallies(self) -> list[Tally]:
        """Return the numbers of letters by policy, state and reason."""
        found = self._read(
            "SELECT namespace, policies.name, state, reason, count FROM tallies "
            "JOIN policies ON number = policy WHERE count > 0",
            (),
        )
        return [Tally(Ref(*each[:2]), *each[2:]) for each in found]

    def positions(self, policy: Ref) -> dict[int, int]:
        """Return the next offset to read, by partition."""
        number = self._number_of(policy)
        return dict(self._read("SELECT partition, next FROM positions WHERE policy = ?", (number,)))

    def incarnation(self, policy: Ref) -> str | None:
        """Return which incarnation of the policy's topic the letters are from, if it is known."""
        found = self._read(
            "SELECT incarnation FROM policies WHERE number = ?", (self._number_of(policy),)
        )
        return None if not found or found[0][0] is None else str(found[0][0])

    # Parts

    def _put(self, letters: Iterable[Letter]) -> None:
        # prepared once: the statements are always the same texts
        for each in letters:
            number = self._number(each.policy)
            # An offset is used again if a broker lost the end of its log.
            self._db.execute(
                "DELETE FROM letters WHERE policy = ? AND partition = ? AND offset = ? AND id <> ?",
                (number, *each.position, each.id),
            )
            self._db.execute(INSERT + COPY, row_of(number, each))
            decided = self._db.execute(
                "DELETE FROM decisions WHERE policy = ? AND id = ? "
                "RETURNING state, review_namespace, review_name, review_uid, at",
                (number, each.id),
            ).fetchone()
            if decided is not None:
                self._db.execute(SETTLE, (*decided, number, each.id, decided[0]))

    def _settle(self, number: int, settlement: Settlement) -> None:
        """Set how a letter is settled.

        The first decision counts, but a quarantined letter may be settled later. A decision about
        a letter that is not known yet waits for it.
        """
        state, at = settlement.state.value, int(settlement.at.timestamp())
        changed = self._db.execute(
            SETTLE, (state, *settlement.review, settlement.uid, at, number, settlement.id, state)
        ).rowcount
        known = (
            changed
            or self._db.execute(
                "SELECT 1 FROM letters WHERE policy = ? AND id = ?", (number, settlement.id)
            ).fetchone()
        )
        if not known:
            self._db.execute(
                DECIDE, (number, settlement.id, state, *settlement.review, settlement.uid, at)
            )

    def _pages(
        self,
        policy: Ref,
        state: LetterState,
        wanted: tuple[str, Sequence[Any]],
        after: Position | None,
        size: int,
    ) -> Iterator[Letter]:
        number, place = self._number_of(policy), after or Position(-1, -1)
        terms, values = wanted
        while True:
            rows = self._read(
                f"SELECT {COLUMNS} FROM letters WHERE policy = ? AND state = ? "  # noqa: S608 - no values
                f"AND (partition, offset) > (?, ?){terms} ORDER BY partition, offset LIMIT ?",
                (number, state.value, *place, *values, size),
            )
            for row in rows:
                yield letter_of(policy, row)
            if len(rows) < size:
                return
            place = Position(*rows[-1][1:3])

    def _number(self, policy: Ref) -> int:
        """Return the number of a policy in a transaction; a new one if it is not known."""
        number = self._numbers.get(policy)
        if number is None:
            self._db.execute(
                "INSERT OR IGNORE INTO policies (namespace, name) VALUES (?, ?)", policy
            )
            (number,) = self._db.execute(
                "SELECT number FROM policies WHERE namespace = ? AND name = ?", policy
            ).fetchone()
            self._numbers[policy] = number
        return int(number)

    def _number_of(self, policy: Ref) -> int | None:
        found = self._read("SELECT number FROM policies WHERE namespace = ? AND name = ?", policy)
        return int(found[0][0]) if found else None

    def _read(self, query: str, values: Sequence[Any]) -> list[Any]:
        with self._reading:
            return self._reader.execute(query, values).fetchall()

    def _in_parts(self, change: str, values: Sequence[Any]) -> None:
        """Change many rows in several transactions, so that the journal stays small."""
        while True:
            with self._transaction():
                changed = self._db.execute(change, (*values, _AT_ONCE)).rowcount
            if changed < _AT_ONCE:
                return

    def _remove_orphans(self) -> None:
        """Remove the rows of policies that are forgotten."""
        for table, key in (
            ("letters", "policy, partition, offset"),
            ("unreadable", "policy, partition, offset"),
            ("decisions", "policy, id"),
            ("positions", "policy, partition"),
            ("tallies", "policy, state, reason"),
        ):
            for (number,) in self._orphans(table):
                self._in_parts(
                    f"DELETE FROM {table} WHERE ({key}) IN "  # noqa: S608 - no values
                    f"(SELECT {key} FROM {table} WHERE policy = ? LIMIT ?)",
                    (number,),
                )

    def _orphans(self, table: str) -> list[tuple[int]]:
        # The distinct numbers are found by a search for each, not by reading the table.
        with self._writing:
            return self._db.execute(
                f"WITH RECURSIVE found (number) AS (SELECT min(policy) FROM {table} UNION ALL "  # noqa: S608 - no values
                f"SELECT (SELECT min(policy) FROM {table} WHERE policy > number) FROM found "
                "WHERE number IS NOT NULL) SELECT number FROM found WHERE number IS NOT NULL "
                "AND number NOT IN (SELECT number FROM policies)"
            ).fetchall()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._writing:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
            except BaseException:
                self._db.execute("ROLLBACK")
                # numbers of policies that were added are not valid any more
                self._numbers.clear()
                raise
            self._db.execute("COMMIT")


def _is_below(position: Position, ends: Mapping[int, int] | None) -> bool:
    return ends is None or position.offset < ends.get(position.partition, 0)
