"""Maintenance windows: cron expressions and time zones, and when a window is open.

The expressions are those of cron: five fields of numbers, `*`, lists, ranges and steps; days by
their numbers, 0 to 7 from Sunday. Names, `L`, `W` and `#` are left out, for every reader and every
implementation understands the rest alike. Daylight saving is handled as Debian's cron does it.
"""

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Protocol
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError
from pydantic import AfterValidator, StringConstraints
from pydantic_core import PydanticCustomError

from troth.resources.rules import Rule

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


def _comes_round(expression: str) -> str:
    """Refuse what no regular expression can tell: a range backwards, a day that never comes."""
    try:
        next(CronSim(expression, datetime(2026, 1, 1, tzinfo=UTC)))
    except (CronSimError, StopIteration):
        raise PydanticCustomError("rule", "{sentence}", {"sentence": _CRON_SENTENCE}) from None
    return expression


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise PydanticCustomError("rule", "{sentence}", {"sentence": _ZONE_SENTENCE}) from None
    return name


CronExpression = Annotated[
    str,
    StringConstraints(max_length=128),
    Rule(
        cel=f"self.matches('^{_CRON}$')",
        message=_CRON_SENTENCE,
        holds=lambda text: re.fullmatch(_CRON, text, re.ASCII) is not None,
    ),
    AfterValidator(_comes_round),
]
TimeZone = Annotated[
    str,
    StringConstraints(max_length=64),
    Rule(
        cel=f"self.matches('^{_ZONE}$')",
        message=_ZONE_SENTENCE,
        holds=lambda text: re.fullmatch(_ZONE, text, re.ASCII) is not None,
    ),
    AfterValidator(_known_zone),
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


def next_open(windows: Iterable[Opening], moment: datetime) -> datetime | None:
    """Return the first moment from `moment` (aware) on at which one of the windows is open, UTC.

    `moment` itself if one is open then, or if there are no windows; None if none opens any more.
    """
    declared = list(windows)
    if not declared:
        return moment
    return min((begin for each in declared if (begin := _opens(each, moment))), default=None)


def _opens(window: Opening, moment: datetime) -> datetime | None:
    zone = ZoneInfo(window.time_zone)
    # one that opened at most its own duration ago is still open; openings are whole minutes
    since = (moment - window.duration - timedelta(minutes=1)).astimezone(zone)
    for opening in CronSim(window.cron, since.replace(second=0, microsecond=0)):
        begin = opening.astimezone(UTC)
        if begin + window.duration > moment:
            return max(begin, moment)
    return None
