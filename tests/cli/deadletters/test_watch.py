"""`troth deadletters watch` prints each change once, and says how a review ended."""

import io
from datetime import UTC, datetime
from typing import Any

import pytest
from rich.console import Console

from troth.cli.deadletters.watch import Progress, counts, is_clean, why
from troth.resources.reviews.dead_letter_review_status import DeadLetterReviewStatus

SELECTION = {"count": 5, "digest": "d", "at": "2026-11-28T12:00:00Z"}


def status(phase: str = "Running", **members: Any) -> DeadLetterReviewStatus:
    return DeadLetterReviewStatus.model_validate({"phase": phase} | members)


def condition(type_: str, value: str, message: str) -> dict[str, Any]:
    moment = "2026-11-28T12:00:00Z"
    return {
        "type": type_,
        "status": value,
        "reason": "Because",
        "message": message,
        "lastTransitionTime": moment,
        "observedGeneration": 1,
    }


def progress() -> tuple[Progress, io.StringIO]:
    output = io.StringIO()
    console = Console(file=output, color_system=None, soft_wrap=True, width=1000)
    return Progress(console, lambda: datetime(2026, 11, 28, 12, tzinfo=UTC)), output


def test_counts_say_how_many_letters_are_done() -> None:
    assert counts(status()) == ""
    assert counts(status(selection=SELECTION)) == "0 of 5"
    done = {"redriven": 2, "skipped": 1, "repeated": 1}
    shown = counts(status(selection=SELECTION, counts=done))
    assert shown == "3 of 5 (2 redriven, 1 skipped, 1 repeated)"


def test_message_of_a_stalled_review_is_shown_first() -> None:
    ready = condition("Ready", "False", "the review waits for an approval")
    stalled = condition("Stalled", "True", "the admission policy is missing")
    assert why(status(conditions=[ready])) == "the review waits for an approval"
    assert why(status(conditions=[ready, stalled])) == "the admission policy is missing"
    assert why(status(conditions=[condition("Ready", "True", "done")])) == ""


@pytest.mark.parametrize(
    ("phase", "outcomes", "clean"),
    [
        ("Completed", {"redriven": 5}, True),
        ("Completed", {"quarantined": 5, "repeated": 1}, True),
        ("Completed", {"redriven": 4, "skipped": 1}, False),
        ("Completed", {"failed": 1}, False),
        ("Withdrawn", {}, False),
        ("Refused", {}, False),
    ],
)
def test_review_is_clean_if_each_letter_was_settled(
    phase: str, outcomes: dict[str, int], clean: bool
) -> None:
    assert is_clean(status(phase, counts=outcomes)) is clean


def test_each_change_is_one_line() -> None:
    shown, output = progress()
    waiting = status("AwaitingApproval", selection=SELECTION)
    for each in (status("Pending"), waiting, waiting, status(counts={}, selection=SELECTION)):
        shown.show(each)
    assert output.getvalue().splitlines() == [
        "12:00:00Z  Pending",
        "12:00:00Z  AwaitingApproval  0 of 5",
        "12:00:00Z  Running  0 of 5",
    ]


def test_trouble_is_printed_once_and_escaped() -> None:
    shown, output = progress()
    for _ in range(2):
        shown.trouble("the API server says \x1b[31mno")
    assert output.getvalue() == "12:00:00Z  the API server says \\x1b[31mno; retrying\n"
    hostile = condition("Ready", "False", "\x1b]0;owned\x07")
    shown.show(status("Refused", conditions=[hostile]))
    assert "\x1b" not in output.getvalue()
