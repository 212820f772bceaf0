"""When a plan is made. Planning reads no clock: one `Moment` goes in."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from troth.pki.certificates import BACKDATE


@dataclass(frozen=True, slots=True)
class Moment:
    """One reading of the clocks.

    `now` is the wall time (aware UTC). `uptime` is in seconds on the process's monotonic clock, as
    all that the world has `since`. `set_forward` is by how much the wall clock was set forward
    since the process began.
    """

    now: datetime
    uptime: float
    set_forward: timedelta

    def over_at(self, end: datetime) -> datetime:
        """Return when what ends at a moment is over by every clock.

        Others may be behind by up to BACKDATE, and ours may have been set forward.
        """
        return end + BACKDATE + self.set_forward
