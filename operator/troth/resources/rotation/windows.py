"""Maintenance windows: cron expressions, time zones, and the times at which a window is open.

A cron expression has five fields of numbers, `*`, lists, ranges and steps. Days of the week are the
numbers 0 to 7 from Sunday. Names, `L`, `W` and `#` are not supported, because implementations of
them differ. Daylight saving is handled as in Debian's cron.
"""

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Annotated, Protocol
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError
from pydantic import StringConstraints

from troth.resources.schema.rules import Rule

_FIELDS = ("[0-5]?[0-9]", "1?[0-9]|2[0-3]", "[1-9]|[12][0-9]|3[01]", "[1-9]|1[0-2]", "[0-7]")


def _field(number: str) -> str:
    item = f"([*]|({number})(-({number}))?)(/[1-9][0-9]?)?"
    return f"{item}(,{item})*"


_CRON = " ".join(map(_field, _FIELDS))
_CRON_SENTENCE = (
    "write a cron expression of five fields: minute, hour, day of month, month and day of week, "
    "such as 0 2 * * 6"
)
_ZONE = "[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+){0,2}"
_ZONE_SENTENCE = "write a time zone of the IANA database, such as Europe/Berlin"


def _forwards(expression: str) -> bool:
    """Return whether no range of an expression begins after its end."""
    ranges = re.findall("([0-9]+)-([0-9]+)", expression)
    return all(int(first) <= int(last) for first, last in ranges)


_CEL_FORWARDS = "self.findAll('[0-9]+-[0-9]+').all(r, int(r.split('-')[0]) <= int(r.split('-')[1]))"

CronExpression = Annotated[
    str,
    StringConstraints(max_length=48),
    Rule(
        cel=f"self.matches('^{_CRON}$') && {_CEL_FORWARDS}",
        message=_CRON_SENTENCE,
        holds=lambda text: re.fullmatch(_CRON, text, re.ASCII) is not None and _forwards(text),
    ),
]
TimeZone = Annotated[
    str,
    StringConstraints(max_length=64),
    Rule(
        cel=f"self.matches('^{_ZONE}$')",
        message=_ZONE_SENTENCE,
        holds=lambda text: re.fullmatch(_ZONE, text, re.ASCII) is not None,
    ),
]


class Opening(Protocol):
    """Window as declared."""

    @property
    def cron(self) -> str:
        """Cron expression for its start."""

    @property
    def duration(self) -> timedelta:
        """Length of the window."""

    @property
    def time_zone(self) -> str:
        """Time zone of the expression."""


def known_zone(name: str) -> ZoneInfo | None:
    """Return a time zone, or None if the database does not have it."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


def next_open(windows: Iterable[Opening], moment: datetime) -> datetime | None:
    """Return the first time from `moment` (aware) on at which a window is open, in UTC.

    Returns `moment` if a window is open then or if there are no windows. Returns None if no window
    ever opens, because its day or its time zone does not exist.
    """
    declared = list(windows)
    if not declared:
        return moment
    return min((begin for each in declared if (begin := _opens(each, moment))), default=None)


def _opens(window: Opening, moment: datetime) -> datetime | None:
    zone = known_zone(window.time_zone)
    if zone is None:
        return None
    # a window that opened at most its duration ago is still open; it opens at a whole minute
    since = (moment - window.duration - timedelta(minutes=1)).astimezone(zone)
    for opening in _openings(window.cron, since.replace(second=0, microsecond=0)):
        begin = opening.astimezone(UTC)
        if begin + window.duration > moment:
            return max(begin, moment)
    return None


def _openings(cron: str, since: datetime) -> Iterator[datetime]:
    try:
        yield from CronSim(cron, since)
    except CronSimError:  # a day that does not exist in any month
        return
