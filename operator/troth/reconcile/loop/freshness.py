"""Selections that have not been read for too long while the API server answers."""

import asyncio
from collections.abc import Callable, Iterable

import structlog

from troth.cluster.selection import Selection
from troth.cluster.watching.informer import SILENCE, Informer

UNREAD_AFTER = 2 * SILENCE
"""Time in seconds without a read after which a selection counts as unread.

A watch that hangs is found after `SILENCE`, and the next one is opened within a minute.
"""
LOOKS = 30
"""Number of looks within the time after which a selection counts as unread."""
CONTACT = 30.0
"""Time in seconds without an answer after which the API server counts as unreachable.

Every replica sends a request for the Lease every few seconds.
"""

log = structlog.get_logger()


class Freshness:
    """Reports when selections become unread, and when they are read again.

    While the API server does not answer, no selection becomes unread: nothing can be written then,
    and all watches come back with it.
    """

    def __init__(
        self,
        required: Callable[[], Iterable[Informer]],
        answered_at: Callable[[], float],
        on_change: Callable[[Selection, bool], None],
        after: float = UNREAD_AFTER,
    ) -> None:
        """`required` returns the informers to check, and `answered_at` the time of the last answer.

        `on_change` gets a selection, and whether it is unread.
        """
        self.unread: frozenset[Selection] = frozenset()
        self._required = required
        self._answered_at = answered_at
        self._on_change = on_change
        self._after = after
        self._in_contact_since: float | None = None

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            self.look(asyncio.get_running_loop().time())
            await asyncio.sleep(self._after / LOOKS)

    def look(self, now: float) -> None:
        """Report what has changed by a time on the loop's clock."""
        if now - self._answered_at() > CONTACT:
            self._in_contact_since = None
            return
        if self._in_contact_since is None:
            self._in_contact_since = now
        in_contact = now - self._in_contact_since
        unread = frozenset(
            each.selection
            for each in self._required()
            if each.age > self._after
            and (in_contact > self._after or each.selection in self.unread)
        )
        for selection in unread ^ self.unread:
            self._report(selection, unread=selection in unread)
        self.unread = unread

    def _report(self, selection: Selection, *, unread: bool) -> None:
        what = {"kind": selection.watch_class, "namespace": selection.namespace}
        if unread:
            log.error("selection unread; nothing opens because of its objects", **what)
        else:
            log.info("selection no longer counts as unread", **what)
        self._on_change(selection, unread)
