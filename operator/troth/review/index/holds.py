"""The letters of the reviews that are carried out, written down when a review begins.

The index changes meanwhile: letters come and go, and it may be read again from the topic. None of
that may put another letter in the place of one that was approved.
"""

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from itertools import islice
from typing import Any, Final

from troth.resources.references import Ref
from troth.review.index.rows import COLUMNS, letter_of
from troth.review.letters.digest import digest_of_selection
from troth.review.letters.letter import Letter, lost

_PAGE: Final = 512
_AT_ONCE: Final = 5_000


class Holds:
    """The letters of at most one review for each policy. What the index forgets stays here."""

    def __init__(
        self,
        transaction: Callable[[], AbstractContextManager[sqlite3.Connection]],
        read: Callable[[str, Sequence[Any]], list[Any]],
        in_parts: Callable[[str, Sequence[Any]], None],
    ) -> None:
        self._transaction = transaction
        self._read = read
        self._in_parts = in_parts

    def take(self, policy: Ref, uid: str, letters: Iterable[Letter]) -> str:
        """Write down the letters of a review, in place of another one's; return their digest."""
        self.release(policy)
        with self._transaction() as db:
            number = db.execute(
                "INSERT INTO holds (namespace, name, uid) VALUES (?, ?, ?)", (*policy, uid)
            ).lastrowid

        def written() -> Iterator[tuple[str, str]]:
            place, left = 0, iter(letters)
            while part := tuple(islice(left, _AT_ONCE)):
                rows = [(number, place + n, each.id, each.digest) for n, each in enumerate(part)]
                with self._transaction() as db:
                    db.executemany("INSERT INTO held VALUES (?, ?, ?, ?)", rows)
                place += len(part)
                yield from ((each.id, each.digest) for each in part)

        digest = digest_of_selection(written())
        with self._transaction() as db:
            db.execute("UPDATE holds SET digest = ? WHERE number = ?", (digest, number))
        return digest

    def digest(self, policy: Ref, uid: str) -> str | None:
        """Return the digest of a review's letters, None if they are not all written down."""
        found = self._read(
            "SELECT digest FROM holds WHERE namespace = ? AND name = ? AND uid = ?", (*policy, uid)
        )
        return found[0][0] if found else None

    def letters(self, policy: Ref, uid: str, begin: int) -> Iterator[Letter]:
        """Yield the letters of a review from a place on, as they are now.

        One that the index no longer has, or has with another digest, is gone.
        """
        while True:
            rows = self._read(
                f"SELECT {COLUMNS}, letter, expected FROM held "  # noqa: S608 - no values
                "LEFT JOIN letters ON id = letter AND policy = "
                "(SELECT number FROM policies WHERE namespace = ? AND name = ?) "
                "WHERE hold = (SELECT number FROM holds WHERE namespace = ? AND name = ? "
                "AND uid = ?) AND place >= ? ORDER BY place LIMIT ?",
                (*policy, *policy, uid, begin, _PAGE),
            )
            for *row, identifier, digest in rows:
                found = None if row[0] is None else letter_of(policy, tuple(row))
                if found is None or found.digest != digest:
                    found = lost(policy, identifier, digest)
                yield found
            if len(rows) < _PAGE:
                return
            begin += len(rows)

    def release(self, policy: Ref) -> None:
        """Remove the letters of the policy's review."""
        for (number,) in self._read(
            "SELECT number FROM holds WHERE namespace = ? AND name = ?", policy
        ):
            self._in_parts(
                "DELETE FROM held WHERE (hold, place) IN "
                "(SELECT hold, place FROM held WHERE hold = ? LIMIT ?)",
                (number,),
            )
            with self._transaction() as db:
                db.execute("DELETE FROM holds WHERE number = ?", (number,))
