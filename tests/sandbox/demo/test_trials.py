"""A trial is right only if each expected fact holds in time."""

import io
import re
from collections.abc import Iterator

import pytest
from rich.console import Console

from sandbox.demo.screen import Screen
from sandbox.demo.trials import MOST_SHOWN, Facts, Observation, Trial, over, run, summary


def observation(**facts: object) -> Observation:
    return Observation(facts, ("a cell",), "a quote")


@pytest.mark.parametrize(
    ("expected", "facts", "wrong"),
    [
        ({"status": 401}, {"status": 401, "more": 1}, False),
        ({"status": 401}, {"status": 200}, True),
        ({"status": 401}, {}, True),
        ({"words": re.compile("^no$")}, {"words": "no"}, False),
        ({"words": re.compile("^no$")}, {"words": "nothing"}, True),
        ({"words": re.compile("no")}, {"words": None}, True),
    ],
)
def test_every_expected_fact_must_hold(expected: Facts, facts: Facts, *, wrong: bool) -> None:
    assert over("who", "what", observation(**facts), **expected).is_wrong is wrong


def test_fault_names_expected_and_observed_facts() -> None:
    result = over("who", "what", observation(status=200, code=""), status=401, code="")
    assert result.fault == "expected status: 401; observed status: 200"


def attempts(*statuses: int) -> Trial:
    answers: Iterator[int] = iter(statuses)
    return Trial(
        "who", "what", {"status": 401}, lambda: observation(status=next(answers)), within=0.2
    )


def test_trial_after_a_change_is_repeated_until_it_is_right() -> None:
    (result,) = run([attempts(200, 200, 401)], since=None)
    assert not result.is_wrong


def test_trial_that_is_right_too_late_is_wrong() -> None:
    (result,) = run([attempts(401)], since=0.0)
    assert result.is_wrong
    assert result.fault.startswith("expected within 0 s; took ")


def test_trial_that_stays_wrong_ends_in_time() -> None:
    (result,) = run([attempts(*[200] * 50)])
    assert result.is_wrong


def test_summary_is_one_row_or_shows_the_wrong_ones() -> None:
    right = [
        over(f"pair {number}", "calls", observation(passes=False), passes=False)
        for number in range(20)
    ]
    assert [each.trial.actor for each in summary("other pairs", right)] == ["other pairs (20)"]
    wrong = [
        over(f"pair {number}", "calls", observation(passes=True), passes=False)
        for number in range(12)
    ]
    rows = summary("other pairs", [*right, *wrong])
    assert rows[0].trial.actor == "other pairs (12 of 32)"
    assert len(rows) == 1 + MOST_SHOWN
    assert all(row.is_wrong for row in rows)


def test_screen_marks_wrong_trials_and_shows_why() -> None:
    output = io.StringIO()
    screen = Screen(Console(file=output, width=100))
    results = [
        over("a → b", "calls [red]", observation(status=200), status=200),
        over("a → b", "calls again", observation(status=200), status=403),
    ]
    assert not screen.trials(results, "who", "what", "answer")
    assert screen.trials(results[:1], "who", "what", "answer")
    lines = [line.rstrip() for line in output.getvalue().splitlines()]
    assert lines[:6] == [
        "  who    what         answer",
        "✓ a → b  calls [red]  a cell",
        "    a quote",
        "✗        calls again  WRONG",
        "    expected status: 403; observed status: 200",
        "    a quote",
    ]
