"""The API server's clock, as the `Date` header of its answers shows it (RFC 9110, section 6.6.1).

Every certificate and token is compared with clocks of other machines. Troth tolerates a difference
of `BACKDATE`; beyond that, what this process issues may not be valid yet elsewhere.

A control plane may have several API servers, and no answer shows which of them has sent it. So one
answer does not decide whose clock is wrong. The first one does, because nothing contradicts it.
"""

import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import lru_cache

import structlog

from troth.cluster.connection.client import Pool
from troth.pki.certificates.leaf import BACKDATE

TOLERANCE = BACKDATE
RESOLUTION = timedelta(seconds=1)
"""The header has whole seconds, rounded down."""
NONE = timedelta(0)
RECENT = 15
"""Number of answers whose median is shown."""
DOUBT, RELIEF, MAX_DOUBT = 2, 3, 80
"""By how much an answer that differs adds to the doubt, by how much one that agrees reduces it, and
from when on the clocks differ.

The doubt shrinks while at least two of five answers agree, so also if one of two API servers is
wrong. It grows while fewer agree, so also if one of three is as wrong as this process. If no answer
agrees, the clocks differ after 40 of them.
"""
SET = timedelta(minutes=1)
"""Least change of the difference between this process's wall clock and its monotonic clock that
counts as setting the clock."""

log = structlog.get_logger()


class ServerClock:
    """Compares this process's clock with the API server's, at each answer.

    `on_change` is called when the clocks begin to differ by more than `TOLERANCE`, and when they no
    longer do. Both need the doubt of many answers, except for the first answer after the start and
    after this process's clock was set.
    """

    def __init__(
        self,
        on_change: Callable[["ServerClock"], None] = lambda _: None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.agrees = True
        """Whether the clocks differ by at most `TOLERANCE`, or no answer has shown a difference."""
        self.elects = False
        """Whether this process takes part in an election. Then only answers about the Lease count:
        they come at an even pace, and each may come from another API server."""
        self._on_change = on_change
        self.now = now
        self._monotonic = monotonic
        self._recent: deque[timedelta] = deque(maxlen=RECENT)
        self._doubt = 0
        self._epoch: datetime | None = None
        """Wall clock of this process at time 0 of its monotonic clock, at the last answer."""

    @property
    def ahead(self) -> timedelta:
        """The least time by which this process's clock is ahead, negative if it is behind.

        It is the median of the last answers; of two in the middle, the smaller difference.
        """
        recent = sorted(self._recent, key=abs)
        return recent[(len(recent) - 1) // 2] if recent else NONE

    def counts(self, pool: Pool) -> bool:
        """Return whether an answer to a request of a pool is to be compared."""
        return pool is Pool.LEASE or not self.elects

    def headers(self, pool: Pool) -> dict[str, str]:
        """Return the headers that a request of a pool needs.

        In doubt, each request for the Lease uses a new connection, which may reach another API
        server. A connection that is kept reaches the same one for hours.
        """
        return {"Connection": "close"} if pool is Pool.LEASE and self._doubt else {}

    def compare(self, date: str, sent: datetime, received: datetime) -> None:
        """Compare the clocks by an answer's `Date`.

        The server wrote it between `sent` and `received`. A slow answer may leave several
        differences possible; the smallest counts, so that no slow answer looks like a difference.
        """
        try:
            served = _parsed(date)
        except (ValueError, OverflowError):
            return
        if served.tzinfo is None or received < sent:
            return
        if self._was_set(received):
            self._recent.clear()
        ahead = max(sent - served - RESOLUTION, min(received - served, NONE))
        differs = abs(ahead) > TOLERANCE
        if not self._recent:
            self._doubt = MAX_DOUBT if differs else 0
        elif differs:
            self._doubt = min(self._doubt + DOUBT, MAX_DOUBT)
        else:
            self._doubt = max(self._doubt - RELIEF, 0)
        self._recent.append(ahead)
        agreed = self.agrees
        # between the two limits it stays as it is
        self.agrees = self._doubt == 0 or (agreed and self._doubt < MAX_DOUBT)
        if self.agrees != agreed:
            self._on_change(self)

    def _was_set(self, now: datetime) -> bool:
        """Return whether this process's wall clock was set since the last answer."""
        before, self._epoch = self._epoch, now - timedelta(seconds=self._monotonic())
        return before is not None and abs(self._epoch - before) > SET


# All answers of a second have the same header.
@lru_cache(maxsize=8)
def _parsed(date: str) -> datetime:
    return parsedate_to_datetime(date)


def log_change(clock: ServerClock) -> None:
    """Log that the clocks differ too much, or no longer do."""
    if clock.agrees:
        log.info("clock agrees with the API server's again")
    else:
        log.warning(
            "clock differs from the API server's; synchronize the clocks of both nodes",
            seconds_ahead=round(clock.ahead.total_seconds()),
            tolerated_seconds=round(TOLERANCE.total_seconds()),
        )
