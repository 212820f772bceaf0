"""The time at which a plan is made. Planning reads no clock: it receives one `Moment`."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from troth.pki.certificates.leaf import BACKDATE


@dataclass(frozen=True, slots=True)
class Moment:
    """One reading of the clocks.

    `now` is the wall time (aware UTC). `uptime` is in seconds on the process's monotonic clock, as
    are all `since` values in the world. `set_forward` is the amount by which the wall clock was set
    forward since the process started.
    """

    now: datetime
    uptime: float
    set_forward: timedelta

    def over_at(self, end: datetime) -> datetime:
        """Return when `end` has passed on every clock.

        Other clocks may be behind by up to BACKDATE, and this process's clock may have been set
        forward.
        """
        return end + BACKDATE + self.set_forward

    def uptime_at(self, time: datetime) -> float:
        """Return the uptime at a wall time, as far as the wall clock runs evenly."""
        return self.uptime - (self.now - time).total_seconds()
