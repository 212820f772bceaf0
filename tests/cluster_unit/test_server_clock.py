"""The difference from the API server's clock, as the `Date` header of its answers shows it."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from troth.cluster.server_clock import TOLERANCE, ServerClock, log_change

START = datetime(2026, 11, 28, 12, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
durations = st.timedeltas(timedelta(0), timedelta(minutes=10))


def date(moment: datetime) -> str:
    return format_datetime(moment, usegmt=True)


@given(st.timedeltas(-timedelta(days=1), timedelta(days=1)), durations, durations)
def test_difference_is_never_exaggerated_and_exact_within_a_second_of_a_fast_answer(
    ahead: timedelta, there: timedelta, back: timedelta
) -> None:
    clock = ServerClock()
    served = START + there  # by the server's clock
    clock.compare(date(served), START + ahead, served + back + ahead)
    assert abs(clock.ahead) <= abs(ahead) + SECOND
    assert abs(clock.ahead) >= abs(ahead) - there - back - SECOND
    assert clock.agrees or abs(ahead) > TOLERANCE - SECOND


def test_slow_answer_is_no_difference() -> None:
    clock = ServerClock()
    clock.compare(date(START), START, START + timedelta(minutes=20))
    assert clock.ahead == timedelta(0)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "soon",
        "Sat, 28 Nov 2026 12:00:00 -0000",
        "9" * 400,
        "Mon, 01 Jan 2024 00:00:00 +9999999999999999",
        "Mon, 01 Jan 99999999999999999999 00:00:00 GMT",
    ],
)
def test_unreadable_date_changes_nothing(header: str) -> None:
    clock = ServerClock()
    clock.compare(date(START - timedelta(hours=1)), START, START)
    before = clock.ahead
    clock.compare(header, START, START)
    assert clock.ahead == before
    assert not clock.agrees


def test_difference_and_its_end_are_logged_once() -> None:
    clock = ServerClock(log_change)
    with capture_logs() as logs:
        for minutes in (0, 10, 11, 0, 0):
            now = START + timedelta(minutes=minutes)
            clock.compare(date(START), now, now)
    first, second = logs
    assert first == {
        "event": "clock differs from the API server's; synchronize the clocks of both nodes",
        "log_level": "warning",
        "seconds_ahead": 599,
        "tolerated_seconds": 300,
    }
    assert second["event"] == "clock agrees with the API server's again"
