"""Maintenance windows: cron expressions and time zones, and when a window is open.

The expressions are those of cron: five fields of numbers, `*`, lists, ranges and steps; days by
their numbers, 0 to 7 from Sunday. Names, `L`, `W` and `#` are left out, for every reader and every
implementation understands the rest alike. Daylight saving is handled as Debian's cron does it.
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
    """Say whether every range of an expression begins before it ends."""
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
    """A window, as it is declared."""

    @property
    def cron(self) -> str:
        """When it opens."""

    @property
    def duration(self) -> timedelta:
        """How long it stays open."""

    @property
    def time_zone(self) -> str:
        """The time zone of the expression."""


def known_zone(name: str) -> ZoneInfo | None:
    """Return a time zone, None if the database does not have it."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


def next_open(windows: Iterable[Opening], moment: datetime) -> datetime | None:
    """Return the first moment from `moment` (aware) on at which one of the windows is open, UTC.

    `moment` itself if one is open then, or if there are no windows; None if none ever opens, for
    want of such a day or of such a time zone.
    """
    declared = list(windows)
    if not declared:
        return moment
    return min((begin for each in declared if (begin := _opens(each, moment))), default=None)


def _opens(window: Opening, moment: datetime) -> datetime | None:
    zone = known_zone(window.time_zone)
    if zone is None:
        return None
    # one that opened at most its own duration ago is still open; openings are whole minutes
    since = (moment - window.duration - timedelta(minutes=1)).astimezone(zone)
    for opening in _openings(window.cron, since.replace(second=0, microsecond=0)):
        begin = opening.astimezone(UTC)
        if begin + window.duration > moment:
            return max(begin, moment)
    return None


def _openings(cron: str, since: datetime) -> Iterator[datetime]:
    try:
        yield from CronSim(cron, since)
    except CronSimError:  # a day that no month has
        return
