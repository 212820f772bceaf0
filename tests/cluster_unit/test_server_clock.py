"""The difference from the API server's clock, as the `Date` header of its answers shows it."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from troth.cluster.server_clock import MAX_DOUBT, SET, TOLERANCE, ServerClock, log_change

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


# Several API servers

WRONG = timedelta(minutes=10)
wrong_differences = st.one_of(
    st.timedeltas(-timedelta(days=1), -WRONG), st.timedeltas(WRONG, timedelta(days=1))
)


class Answers:
    """Answers of a control plane to one process, two seconds apart.

    Differences are those of an API server's clock, or of the process's, from the right time.
    """

    def __init__(self, own: timedelta = timedelta(0)) -> None:
        self.own = own
        self.changes: list[bool] = []
        self._passed = timedelta(0)
        self.clock = ServerClock(
            lambda clock: self.changes.append(clock.agrees),
            monotonic=lambda: self._passed.total_seconds(),  # noqa: PLW0108 - of the current value
        )

    def give(self, *differences: timedelta) -> "Answers":
        for difference in differences:
            self._passed += 2 * SECOND
            true = START + self._passed
            self.clock.compare(date(true + difference), true + self.own, true + self.own)
        return self


@given(
    wrong_differences,
    st.integers(2, 3).flatmap(
        lambda servers: st.lists(st.permutations(range(servers)), min_size=1, max_size=200)
    ),
)
def test_one_wrong_api_server_never_takes_leadership_from_an_operator_with_a_right_clock(
    wrong: timedelta, rounds: list[list[int]]
) -> None:
    answers = Answers().give(timedelta(0))
    for each in rounds:  # one after the other, or the other way round
        answers.give(*(wrong if server == 0 else timedelta(0) for server in each))
    assert answers.changes == []


@given(wrong_differences, st.lists(st.integers(1, 20), min_size=1, max_size=20))
def test_wrong_api_server_that_answers_often_in_a_row_takes_no_leadership(
    wrong: timedelta, runs: list[int]
) -> None:
    """Of a run of answers and the next one, half come from the wrong API server."""
    answers = Answers().give(timedelta(0))
    for count in runs:
        answers.give(*count * [wrong], *count * [timedelta(0)])
    assert answers.changes == []


@given(wrong_differences, st.lists(st.booleans(), max_size=300))
def test_wrong_clock_of_an_operator_that_drifts_gives_leadership_up_within_40_answers(
    own: timedelta, before: list[bool]
) -> None:
    answers = Answers().give(timedelta(0))
    answers.give(*(WRONG if wrong else timedelta(0) for wrong in before))
    for minute in range(1, 1441):  # too slowly for a clock that was set
        answers.own = max(-minute * SET, min(own, minute * SET))
        if answers.own == own:
            break
        answers.give(timedelta(0))
    answers.give(*MAX_DOUBT // 2 * [timedelta(0)])
    assert not answers.clock.agrees


@given(wrong_differences, st.lists(st.permutations(range(3)), min_size=240, max_size=240))
def test_wrong_clock_gives_leadership_up_even_if_one_of_three_api_servers_shares_it(
    wrong: timedelta, rounds: list[list[int]]
) -> None:
    answers = Answers(own=wrong).give(wrong)
    assert answers.clock.agrees
    for each in rounds:
        answers.give(*(wrong if server == 0 else timedelta(0) for server in each))
    assert answers.changes == [False]


@given(wrong_differences)
def test_clock_that_is_set_is_judged_by_the_next_answer(wrong: timedelta) -> None:
    answers = Answers().give(*50 * [timedelta(0)])
    answers.own = wrong
    assert not answers.give(timedelta(0)).clock.agrees
    answers.own = timedelta(0)
    assert answers.give(timedelta(0)).clock.agrees


def test_operator_whose_first_answer_differs_leads_only_after_many_that_agree() -> None:
    answers = Answers().give(WRONG)
    assert not answers.clock.agrees
    assert not answers.give(*26 * [timedelta(0)]).clock.agrees
    assert answers.give(timedelta(0)).clock.agrees
    assert answers.changes == [False, True]


def test_shown_difference_is_the_median_of_the_last_answers() -> None:
    answers = Answers()
    assert answers.clock.ahead == timedelta(0)
    answers.give(*8 * [timedelta(0)], *7 * [-WRONG])
    assert answers.clock.ahead == timedelta(0)
    assert answers.give(-WRONG).clock.ahead == WRONG - SECOND
