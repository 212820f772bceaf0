"""The API server's clock, as the `Date` header of its answers shows it (RFC 9110, section 6.6.1).

Every certificate and token is compared with clocks of other machines. Troth tolerates a difference
of `BACKDATE`; beyond that, what this process issues may not be valid yet elsewhere.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import lru_cache

import structlog

from troth.pki.certificates.leaf import BACKDATE

TOLERANCE = BACKDATE
RESOLUTION = timedelta(seconds=1)
"""The header has whole seconds, rounded down."""
NONE = timedelta(0)

log = structlog.get_logger()


class ServerClock:
    """Compares this process's clock with the API server's, at each answer.

    `on_change` is called when the clocks begin to differ by more than `TOLERANCE`, and when they no
    longer do.
    """

    def __init__(
        self,
        on_change: Callable[["ServerClock"], None] = lambda _: None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.ahead = NONE
        """The least time by which this process's clock is ahead, negative if it is behind."""
        self._on_change = on_change
        self.now = now

    @property
    def agrees(self) -> bool:
        """Whether the clocks differ by at most `TOLERANCE`, or no answer has shown a difference."""
        return abs(self.ahead) <= TOLERANCE

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
        agreed = self.agrees
        self.ahead = max(sent - served - RESOLUTION, min(received - served, NONE))
        if self.agrees != agreed:
            self._on_change(self)


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
