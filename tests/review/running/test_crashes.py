"""The process ends at every step of a review, and the next one goes on.

Each message arrives once, after the consumer's guard has dropped repeated redrives; and each that
was delivered twice is counted in the status.
"""

import asyncio
from collections import Counter
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest

from tests.edge.events.trade import ORDER
from tests.edge.mounts import workload
from tests.review.broker import Killed
from tests.review.stage import POLICY, Stage, review
from troth.edge.events.redrive import redrive_id
from troth.resources.reviews.dead_letter_review import DeadLetterReview
from troth.review.running.job import Job

MOST_STEPS = 500


class Lives:
    """Processes that carry out one review, one after the other."""

    def __init__(self, stage: Stage, made: DeadLetterReview) -> None:
        self.stage = stage
        self.job = stage.job(made)
        self.begun = False
        self.completed: dict[str, int] | None = None

    def live(self, *, dies_at: int | None = None) -> bool:
        """Carry the review out until the process ends; return whether it completed the review."""
        death = self.stage.broker.death
        death.at, death.steps = dies_at, 0
        self.stage.reborn()
        self.stage.index.holds.release(POLICY)  # the disk is lost
        try:
            asyncio.run(self._live())
        except Killed:
            return False
        return True

    async def _live(self) -> None:
        job = Job(self.job.review, self.job.uid, self.job.created, self.job.selection, self.begun)
        death = self.stage.broker.death
        death.step("before the phase")
        self.begun = True  # the phase Running, which is written before anything is delivered
        death.step("after the phase")
        runner = self.stage.runner(job)
        assert await runner.run()
        self.completed = dict(runner.progress.numbers())


def check(stage: Stage, lives: Lives, letters: list[str]) -> int:
    """Check what arrived, and return how many messages arrived twice."""
    arrived = Counter(stage.broker.ids())
    expected = {redrive_id(lives.job.uid, each) for each in letters}
    assert set(arrived) == expected
    twice = sum(number - 1 for number in arrived.values())
    assert lives.completed is not None
    assert lives.completed["redriven"] == len(letters)
    assert twice <= lives.completed["repeated"]
    audited = stage.audit.settled()
    assert {name for name, outcome in audited if outcome == "Redriven"} == set(letters)
    return twice


@pytest.mark.parametrize("rate", ["1000/s", "2/s", "1/s"])
def test_each_letter_is_redriven_once_whatever_step_a_process_ends_at(
    tmp_path: Path, rate: str
) -> None:
    twice = points = 0
    first = Stage(tmp_path)
    letters = first.fail(5)
    for dies_at in count(1):
        assert dies_at < MOST_STEPS
        stage = first.copy()
        lives = Lives(stage, review(rate=rate))
        died = not lives.live(dies_at=dies_at)
        if died:
            points += 1
            assert lives.live()
        twice += check(stage, lives, letters)
        if not died:
            break
    print(f"rate {rate}: {points} crash points, {twice} messages delivered twice, all reported")  # noqa: T201 - the figures of the run
    assert points
    assert twice


def test_letters_that_cannot_be_redriven_do_not_hide_a_repetition(tmp_path: Path) -> None:
    first = Stage(tmp_path)
    first.broker.most_bytes = 64
    small, large = ORDER.replace(b"A-1", b"B"), ORDER.replace(b"A-1", b"C" * 64)
    letters = []
    for data in (large, large, large, small, small, large, small):
        (letter,) = first.fail(1, data=data)
        letters += [letter] if data == small else []
    for dies_at in count(1):
        assert dies_at < MOST_STEPS
        stage = first.copy()
        lives = Lives(stage, review(rate="2/s"))
        died = not lives.live(dies_at=dies_at)
        if died:
            assert lives.live()
        check(stage, lives, letters)
        if not died:
            break


@pytest.mark.long
def test_two_crashes_repeat_no_letter_that_is_not_counted(tmp_path: Path) -> None:
    pairs = twice = 0
    origin = Stage(tmp_path)
    letters = origin.fail(3)
    for first in range(1, 18, 2):
        for second in range(1, 20, 3):
            stage = origin.copy()
            lives = Lives(stage, review(rate="2/s"))
            died = not lives.live(dies_at=first)
            died = died and not lives.live(dies_at=second)
            if lives.completed is None:
                assert lives.live()
            twice += check(stage, lives, letters)
            pairs += died
    print(f"{pairs} pairs of crash points, {twice} messages delivered twice, all reported")  # noqa: T201 - the figures of the run
    assert pairs


@pytest.mark.parametrize("ends", ["obstacles", "withdrawal"])
@pytest.mark.parametrize("rate", ["1000/s", "2/s", "1/s"])
def test_delivered_letters_are_reported_although_the_review_does_not_go_on(
    tmp_path: Path, rate: str, ends: str
) -> None:
    first = Stage(tmp_path)
    letters = first.fail(5)
    first.broker.expire(0)
    first.broker.expire(2)
    points = 0
    for dies_at in count(1):
        assert dies_at < MOST_STEPS
        stage = first.copy()
        lives = Lives(stage, review(rate=rate, select={"ids": letters[1:]}))
        if lives.live(dies_at=dies_at):
            break
        points += bool(stage.broker.delivered)
        stage.broker.death.at = None
        stage.reborn()
        runner = stage.runner(replace(lives.job, uncertain=lives.begun))
        if ends == "withdrawal":
            asyncio.run(runner.abandon())
        else:
            stage.desk.review(producers=[workload("other")])
            assert asyncio.run(runner.run())
            stage.desk.review()
        delivered = {
            each for each in letters if redrive_id(lives.job.uid, each) in stage.broker.ids()
        }
        found = {each.id: each.outcome for each in runner.progress.letters()}
        assert {found.get(each) for each in delivered} <= {"Redriven", "Failed"}
        failed = {each for each, outcome in found.items() if outcome == "Failed"}
        assert delivered <= {
            each for each, outcome in stage.audit.settled() if outcome != "Skipped"
        }
        assert runner.progress.repeated == len(failed)
    assert points


@pytest.mark.parametrize("action", ["Discard", "Quarantine"])
def test_each_letter_is_settled_whatever_step_a_process_ends_at(
    tmp_path: Path, action: str
) -> None:
    first = Stage(tmp_path)
    letters = first.fail(3)
    for dies_at in count(1):
        assert dies_at < MOST_STEPS
        stage = first.copy()
        lives = Lives(stage, review(action=action))
        died = not lives.live(dies_at=dies_at)
        if died:
            assert lives.live()
        assert lives.completed is not None
        assert lives.completed[f"{action.rstrip('e')}ed".lower()] == len(letters)
        assert lives.completed["repeated"] == 0
        if not died:
            break
