"""Maintenance windows, compared with a search minute by minute."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import more
from troth.resources.rotation.windows import next_open

MINUTE = timedelta(minutes=1)


@dataclass(frozen=True)
class Window:
    cron: str
    duration: timedelta
    time_zone: str = "UTC"


def is_open(window: Window, moment: datetime) -> bool:
    """Look back minute by minute for an opening; for expressions of plain numbers and `*`."""
    begin = moment.replace(second=0, microsecond=0)
    while begin + window.duration > moment:
        if opens(window, begin):
            return True
        begin -= MINUTE
    return False


def opens(window: Window, begin: datetime) -> bool:
    local = begin.astimezone(ZoneInfo(window.time_zone))
    now = (local.minute, local.hour, local.day, local.month, local.isoweekday() % 7)
    minute, hour, day, month, weekday = (
        field == "*" or int(field) == value
        for field, value in zip(window.cron.split(), now, strict=True)
    )
    *_, day_field, _, weekday_field = window.cron.split()
    both = day_field != "*" and weekday_field != "*"
    days = (day or weekday) if both else (day and weekday)  # as cron has it since ever
    return minute and hour and days and month


moments = st.integers(0, 63_000_000).map(
    lambda seconds: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
)
windows = st.builds(
    lambda minute, hour, weekday, length: Window(
        f"{minute} {hour} * * {weekday}", timedelta(minutes=length)
    ),
    st.integers(0, 59),
    st.integers(0, 23),
    st.sampled_from(("*", *map(str, range(7)))),
    st.integers(1, 300),
)


@more(1)
@given(windows, moments)
def test_returned_time_is_the_first_open_one(window: Window, moment: datetime) -> None:
    first = next_open([window], moment)
    assert first is not None
    assert first >= moment
    assert is_open(window, first)
    assert first == moment or not is_open(window, first - MINUTE)
    if first > moment:
        assert not is_open(window, moment)


def test_rotation_without_windows_may_always_begin() -> None:
    moment = datetime(2026, 1, 1, 3, 4, 5, tzinfo=UTC)
    assert next_open([], moment) == moment


def test_next_of_several_windows_counts() -> None:
    saturday = Window("0 2 * * 6", timedelta(hours=2))
    first = Window("0 4 1 * *", timedelta(hours=1))
    thursday = datetime(2026, 1, 29, 12, tzinfo=UTC)
    assert next_open([first, saturday], thursday) == datetime(2026, 1, 31, 2, tzinfo=UTC)
    assert next_open([first], thursday) == datetime(2026, 2, 1, 4, tzinfo=UTC)


def test_window_follows_its_time_zone() -> None:
    window = Window("0 2 * * *", timedelta(hours=1), "Europe/Berlin")
    winter = datetime(2026, 1, 1, tzinfo=UTC)
    summer = datetime(2026, 7, 1, tzinfo=UTC)
    assert next_open([window], winter) == datetime(2026, 1, 1, 1, tzinfo=UTC)
    assert next_open([window], summer) == datetime(2026, 7, 1, 0, tzinfo=UTC)


def test_window_in_a_skipped_hour_opens_anyway() -> None:
    window = Window("30 2 * * *", timedelta(hours=1), "Europe/Berlin")
    before = datetime(2026, 3, 29, 0, 30, tzinfo=UTC)  # at 1:00 UTC the clocks go from 2 to 3
    first = next_open([window], before)
    assert first is not None
    assert first < datetime(2026, 3, 29, 2, tzinfo=UTC)


@pytest.mark.parametrize(
    "window",
    [
        Window("0 0 31 2 *", timedelta(hours=1)),
        Window("0 0 * * *", timedelta(hours=1), "Europe/Nowhere"),
    ],
)
def test_impossible_window_never_opens(window: Window) -> None:
    assert next_open([window], datetime(2026, 1, 1, tzinfo=UTC)) is None
