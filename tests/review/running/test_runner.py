"""A review is carried out once, in order, and says what became of each letter."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.edge.events.trade import NOW
from tests.edge.mounts import workload
from tests.review.broker import Killed
from tests.review.desk import redriven
from tests.review.stage import CREATED, POLICY, RunnerDesk, Stage, review
from troth.edge.events.consumption.dead_letters import DeadLetter
from troth.edge.events.redrive import parse, read, redrive_id
from troth.edge.events.redriving import RedriveSealer
from troth.edge.events.rejection import Reason, RejectedError
from troth.resources.references import Ref
from troth.review.brokers import (
    BrokerUnavailableError,
    DeniedError,
    Redelivery,
    UnsendableError,
)
from troth.review.letters.letter import Letter, LetterState, Position
from troth.review.running.job import SelectionChangedError
from troth.review.running.runner import Runner


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def redrives(letters: list[str], name: str = "orders-fix") -> list[str]:
    return [redrive_id(f"uid-of-{name}", each) for each in letters]


def numbers(runner: Runner) -> dict[str, int]:
    return {name: count for name, count in runner.progress.numbers().items() if count}


def reasons(runner: Runner) -> list[str | None]:
    return [each.reason for each in runner.progress.letters()]


async def test_letters_are_redriven_once_in_their_order(stage: Stage) -> None:
    letters = stage.fail(5)
    stage.feed()
    runner = stage.runner(stage.job(review()))
    assert await runner.run()
    assert stage.broker.ids() == redrives(letters)
    assert numbers(runner) == {"redriven": 5}
    assert set(stage.states().values()) == {"Redriven"}
    assert {each.key for each in stage.broker.delivered} == {b"key"}
    assert {each.topic for each in stage.broker.delivered} == {"prod.orders.v1.retry.fulfilment"}


async def test_original_is_delivered_unchanged_with_one_more_header(stage: Stage) -> None:
    stage.fail(1)
    stage.feed()
    await stage.runner(stage.job(review())).run()
    stored = stage.broker.letters[0]
    assert stored is not None
    original = stage.reader.original(stored).message
    (sent,) = stage.broker.delivered
    assert sent.data == original.data
    assert sent.headers[:-1] == original.headers
    assert sent.headers[-1][0] == "ce_trothredrive"


@pytest.mark.parametrize(
    ("action", "state"), [("Discard", "Discarded"), ("Quarantine", "Quarantined")]
)
async def test_letters_are_settled_without_a_delivery(
    stage: Stage, action: str, state: str
) -> None:
    stage.fail(3)
    stage.feed()
    runner = stage.runner(stage.job(review(action=action)))
    assert await runner.run()
    assert not stage.broker.delivered
    assert numbers(runner) == {state.lower(): 3}
    assert set(stage.states().values()) == {state}


async def test_quarantined_letter_needs_a_review_that_lists_it(stage: Stage) -> None:
    letters = stage.fail(2)
    stage.feed()
    await stage.runner(stage.job(review("aside", action="Quarantine"))).run()
    assert stage.job(review(), seconds=60).selection.count == 0
    job = stage.job(review(select={"ids": letters[:1]}), seconds=60)
    assert job.selection.count == 1
    assert await stage.runner(job).run()
    assert stage.broker.ids() == redrives(letters[:1])
    assert sorted(stage.states().values()) == ["Quarantined", "Redriven"]


async def test_limit_selects_the_oldest_letters(stage: Stage) -> None:
    letters = stage.fail(4)
    stage.feed()
    assert await stage.runner(stage.job(review(select={"limit": 3}))).run()
    assert stage.broker.ids() == redrives(letters[:3])


async def test_letters_after_the_selection_are_left_alone(stage: Stage) -> None:
    letters = stage.fail(2)
    stage.feed()
    job = stage.job(review())
    stage.fail(2)
    stage.feed()
    with pytest.raises(SelectionChangedError):  # a process that does not know where they end
        await stage.runner(job).run()
    assert await stage.runner(replace(job, ends={0: 2})).run()
    assert stage.broker.ids() == redrives(letters)


async def test_audit_entry_comes_before_the_record_and_after_the_delivery(stage: Stage) -> None:
    stage.fail(2)
    stage.feed()
    await stage.runner(stage.job(review())).run()
    names = [each for each in stage.broker.death.names if each.startswith("before")]
    assert names == [
        "before a delivery",
        "before a delivery",
        "before the audit entry",
        "before the record",
    ]


async def test_nothing_is_done_while_the_audit_log_cannot_be_written(stage: Stage) -> None:
    stage.fail(1)
    stage.feed()
    stage.broker.death.at = 1
    with pytest.raises(Killed):
        await stage.runner(stage.job(review(action="Discard"))).run()
    assert stage.broker.death.names == ["before the audit entry"]
    assert set(stage.states().values()) == {"Pending"}


async def test_two_reviews_of_one_letter_settle_it_once(stage: Stage) -> None:
    letters = stage.fail(3)
    stage.feed()
    second = stage.job(review("second"))
    assert await stage.runner(stage.job(review("first", select={"ids": letters[:2]}))).run()
    runner = stage.runner(second)
    assert await runner.run()
    assert numbers(runner) == {"redriven": 1, "skipped": 2}
    assert reasons(runner) == ["SettledBefore", "SettledBefore", None]
    assert stage.broker.ids() == redrives(letters[:2], "first") + redrives(letters[2:], "second")


async def test_letter_that_the_broker_no_longer_has_is_skipped(stage: Stage) -> None:
    letters = stage.fail(3)
    stage.feed()
    job = stage.job(review())
    stage.broker.expire(1)
    runner = stage.runner(job)
    assert await runner.run()
    assert sorted(map(str, reasons(runner))) == ["Gone", "None", "None"]
    assert stage.broker.ids() == redrives([letters[0], letters[2]])


async def test_letters_that_the_rebuilt_index_lacks_are_counted(stage: Stage) -> None:
    stage.fail(4)
    stage.feed()

    def lose_two() -> None:
        stage.broker.expire(1)
        stage.broker.expire(2)
        stage.reborn()

    runner = stage.runner(stage.job(review(rate="1/s")), stage.runner_desk(on_advance=lose_two))
    assert await runner.run()
    assert numbers(runner) == {"redriven": 2, "skipped": 2}
    assert reasons(runner) == [None, "Gone", "Gone", None]


async def test_copy_of_an_approved_letter_brings_no_other_into_the_review(stage: Stage) -> None:
    letters = stage.fail(6)
    stage.feed()
    job = stage.job(review(rate="1/s", select={"limit": 3}))

    def publish_again() -> None:
        copied = stage.index.get(POLICY, letters[1])
        assert copied is not None
        stage.index.put([replace(copied, position=Position(0, 1000))])

    runner = stage.runner(job, stage.runner_desk(on_advance=publish_again))
    assert await runner.run()
    assert stage.broker.ids() == redrives(letters[:3])


async def test_back_dated_letter_takes_no_place_in_a_running_review(stage: Stage) -> None:
    letters = stage.fail(3)
    stage.feed()
    job = stage.job(review(rate="1/s", select={"limit": 3}))
    first = stage.index.get(POLICY, letters[0])
    assert first is not None
    moved = [replace(first, id="x" * 43, position=Position(0, -n)) for n in range(1, 4)]
    runner = stage.runner(job, stage.runner_desk(on_advance=lambda: stage.index.put(moved)))
    assert await runner.run()
    assert stage.broker.ids() == redrives(letters)
    assert numbers(runner) == {"redriven": 3}


async def test_resumed_review_touches_no_letter_that_was_not_approved(stage: Stage) -> None:
    letters = stage.fail(6)
    stage.feed()
    job = stage.job(review(select={"limit": 3}))
    stage.broker.expire(0)
    stage.broker.expire(1)
    stage.reborn()
    with pytest.raises(SelectionChangedError):
        await stage.runner(job).run()
    assert not stage.broker.delivered
    # the letters of a review that began are written down, so its next process still knows them
    made = review("second", rate="1/s", select={"limit": 3})
    job = stage.job(made)
    stopped = asyncio.Event()
    desk = stage.runner_desk(stop=stopped.is_set, on_advance=stopped.set)
    assert not await stage.runner(job, desk).run()
    stage.broker.expire(3)
    stage.reborn()
    runner = stage.runner(job)
    assert await runner.run()
    assert numbers(runner) == {"redriven": 2, "skipped": 1}
    assert stage.broker.ids() == redrives([letters[2], letters[4]], "second")


async def test_review_under_a_used_name_does_its_own_work(stage: Stage) -> None:
    letters = stage.fail(4)
    stage.feed()
    await stage.runner(stage.job(review(select={"ids": letters[:2]}))).run()
    job = stage.job(review(select={"limit": 2}), seconds=60)
    again = replace(job, uid="another-uid", selection=stage.selection(job.review, "another-uid"))
    runner = stage.runner(again)
    assert await runner.run()
    assert stage.broker.ids()[2:] == [redrive_id("another-uid", each) for each in letters[2:]]
    assert numbers(runner) == {"redriven": 2}


async def test_letters_that_a_namesake_settled_are_not_own_work(stage: Stage) -> None:
    letters = stage.fail(3)
    stage.feed()
    later = replace(stage.job(review()), uid="another-uid")
    await stage.runner(stage.job(review(select={"ids": letters[:2]}))).run()
    runner = stage.runner(later)
    assert await runner.run()
    assert numbers(runner) == {"redriven": 1, "skipped": 2}
    assert reasons(runner) == ["SettledBefore", "SettledBefore", None]


class Rebuilding:
    """A feeder that reads the topic again after the first batch of a review."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self.rebuilds, self.whole = 0, True

    async def caught_up(self) -> None:
        """Nobody waits for this one."""

    def begin(self) -> None:
        if not self.rebuilds:
            self.rebuilds, self.whole = 1, False
            self._stage.index.forget(POLICY)
            # letters come first: their records are in another partition
            for stored in self._stage.broker.letters:
                found = self._stage.reader.read(stored) if stored else None
                if isinstance(found, Letter):
                    self._stage.index.put([found])

    def end(self) -> None:
        self._stage.reborn()
        self.whole = True


async def test_review_waits_for_an_index_that_begins_again(stage: Stage) -> None:
    letters = stage.fail(4)
    stage.feed()
    await stage.runner(stage.job(review("first", select={"ids": letters[2:3]}))).run()
    job = stage.job(review(rate="1/s"), seconds=0)
    following = Rebuilding(stage)
    desk = stage.runner_desk(on_advance=following.begin, on_pause=following.end)
    runner = stage.runner(job, desk, following)
    assert await runner.run()
    assert [reason for reason, _ in desk.waited] == ["IndexIncomplete"]
    assert numbers(runner) == {"redriven": 3, "skipped": 1}
    assert reasons(runner) == [None, "SettledBefore", None, None]
    assert stage.broker.ids()[1:] == redrives([*letters[:2], letters[3]])


async def test_expired_letters_are_counted_after_they_left_the_topic(stage: Stage) -> None:
    stage.fail(3)
    stage.feed()
    job = stage.job(review())
    stage.index.mark_gone(Ref("shop", "orders"), 0, 2)
    runner = stage.runner(job)
    assert await runner.run()
    assert reasons(runner) == ["Gone", "Gone", None]


async def test_producer_without_a_grant_is_skipped_and_stays_pending(stage: Stage) -> None:
    stage.fail(2)
    stage.feed()
    stage.desk.review(producers=[workload("other")])
    runner = stage.runner(stage.job(review()))
    assert await runner.run()
    assert reasons(runner) == ["ProducerNotGranted"] * 2
    assert not stage.broker.delivered
    assert set(stage.states().values()) == {"Pending"}


async def test_too_large_letter_fails_and_stays_pending(stage: Stage) -> None:
    stage.fail(2)
    stage.feed()
    stage.broker.most_bytes = 10
    runner = stage.runner(stage.job(review()))
    assert await runner.run()
    assert numbers(runner) == {"failed": 2}
    assert reasons(runner) == ["TooLarge"] * 2
    assert set(stage.states().values()) == {"Pending"}


async def test_message_that_failed_again_is_delivered_with_the_next_count(stage: Stage) -> None:
    stage.fail(1)
    stored = stage.broker.letters[0]
    assert stored is not None
    message = redriven(stage.desk, stage.reader.original(stored), count=1)
    stage.broker.bury(stage.desk.bury(message))
    stage.feed()
    assert await stage.runner(stage.job(review())).run()
    counts = [parse(read(each.headers[-1][1].decode())).count for each in stage.broker.delivered]
    assert counts == [1, 2]


async def test_letter_whose_redrive_cannot_be_sealed_fails(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    letters = stage.fail(3)
    stage.feed()
    seal = RedriveSealer.header

    def header(self: RedriveSealer, letter: DeadLetter, **options: Any) -> tuple[str, bytes]:
        if letter.id == letters[1]:
            raise RejectedError(Reason.TOO_LARGE, "the redrive has 20000 characters")
        return seal(self, letter, **options)

    monkeypatch.setattr(RedriveSealer, "header", header)
    desk: RunnerDesk = stage.runner_desk(stop=lambda: bool(desk.waited))
    runner = stage.runner(stage.job(review()), desk)
    assert await runner.run(), desk.waited
    assert stage.broker.ids() == redrives([letters[0], letters[2]])
    assert numbers(runner) == {"redriven": 2, "failed": 1}
    assert sorted(map(str, reasons(runner))) == ["None", "None", "TooLarge"]


async def test_review_waits_while_the_certificate_has_expired(stage: Stage) -> None:
    stage.fail(1)
    stage.feed()
    stage.desk.review(at=NOW - 30 * 86_400)
    desk: RunnerDesk = stage.runner_desk(stop=lambda: bool(desk.waited))
    assert not await stage.runner(stage.job(review()), desk).run()
    assert [reason for reason, _ in desk.waited] == ["CertificateInvalid"]


async def test_message_that_the_broker_cannot_carry_fails_alone(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.fail(2)
    stage.feed()
    deliver = stage.broker.redeliver

    async def redeliver(messages: Sequence[Redelivery]) -> Sequence[Exception | None]:
        return [UnsendableError("a header"), *await deliver(messages[1:])]

    monkeypatch.setattr(stage.broker, "redeliver", redeliver)
    runner = stage.runner(stage.job(review()))
    assert await runner.run()
    assert numbers(runner) == {"failed": 1, "redriven": 1}
    assert reasons(runner)[0] == "Unsendable"


async def test_withdrawal_stops_after_the_batch(stage: Stage) -> None:
    letters = stage.fail(5)
    stage.feed()
    withdrawn = False

    def withdraw() -> None:
        nonlocal withdrawn
        withdrawn = True

    desk = stage.runner_desk(stop=lambda: withdrawn, on_advance=withdraw)
    runner = stage.runner(stage.job(review(rate="2/s")), desk)
    assert not await runner.run()
    assert stage.broker.ids() == redrives(letters[:2])
    assert numbers(runner) == {"redriven": 2}
    assert list(stage.states().values()) == ["Redriven"] * 2 + ["Pending"] * 3


async def test_denied_delivery_waits_for_the_grant(stage: Stage) -> None:
    letters = stage.fail(2)
    stage.feed()
    job = stage.job(review())
    desk = stage.runner_desk()
    runner = stage.runner(job, desk)
    stage.broker.faults = [BrokerUnavailableError("away"), DeniedError("no grant")]
    assert await runner.run()
    # the second message was accepted while the first was denied, and is not sent again
    assert sorted(stage.broker.ids()) == sorted(redrives(letters))
    assert [reason for reason, _ in desk.waited] == ["BrokerUnavailable"] * 2
    assert numbers(runner) == {"redriven": 2}


async def test_delivery_that_is_tried_again_without_an_answer_is_counted(stage: Stage) -> None:
    stage.fail(3)
    stage.feed()
    job = stage.job(review())
    runner = stage.runner(job)
    original = stage.broker.redeliver
    tries: list[int] = []

    async def lose_an_answer(messages: Sequence[Redelivery]) -> Sequence[Exception | None]:
        tries.append(len(messages))
        results = list(await original(messages))
        if len(tries) == 1:
            results[2] = BrokerUnavailableError("timed out")
        return results

    stage.broker.redeliver = lose_an_answer  # type: ignore[method-assign]
    assert await runner.run()
    assert tries == [3, 1]
    assert numbers(runner) == {"redriven": 3, "repeated": 1}
    assert stage.written[-1]["repeated"] == 1


async def test_withdrawal_after_a_lost_answer_reports_the_letters(stage: Stage) -> None:
    stage.fail(2)
    stage.feed()
    stopped = False

    def stop() -> None:
        nonlocal stopped
        stopped = True

    desk = stage.runner_desk(stop=lambda: stopped, on_pause=stop)
    runner = stage.runner(stage.job(review()), desk)

    async def lose_all(messages: Sequence[Redelivery]) -> Sequence[Exception | None]:
        return [BrokerUnavailableError("timed out") for _ in messages]

    stage.broker.redeliver = lose_all  # type: ignore[method-assign]
    assert not await runner.run()
    assert numbers(runner) == {"failed": 2, "repeated": 2}
    assert reasons(runner) == ["DeliveryUncertain"] * 2


async def test_record_is_tried_until_the_broker_has_it(stage: Stage) -> None:
    stage.fail(1)
    stage.feed()
    desk = stage.runner_desk()
    runner = stage.runner(stage.job(review(action="Discard")), desk)
    stage.broker.faults = [BrokerUnavailableError("away")] * 3
    assert await runner.run()
    assert len(desk.waited) == 3
    assert set(stage.states().values()) == {"Discarded"}


@pytest.mark.parametrize("hours", [-48, 48])
async def test_records_survive_a_clock_that_jumps(stage: Stage, hours: int) -> None:
    letters = stage.fail(2)
    stage.feed()
    job = stage.job(review())
    desk = stage.runner_desk(clock=lambda: CREATED + timedelta(hours=hours))
    await stage.runner(job, desk).run()
    stage.reborn()
    again = stage.runner(job)
    assert await again.run()
    assert stage.broker.ids() == redrives(letters)
    assert numbers(again) == {"redriven": 2}


async def test_resumed_review_counts_what_is_done_and_goes_on(stage: Stage) -> None:
    letters = stage.fail(4)
    stage.feed()
    job = stage.job(review(rate="2/s"))
    advanced = asyncio.Event()
    desk = stage.runner_desk(stop=advanced.is_set, on_advance=advanced.set)
    assert not await stage.runner(job, desk).run()
    stage.reborn()
    runner = stage.runner(job)
    assert await runner.run()
    assert stage.broker.ids() == redrives(letters)
    assert numbers(runner) == {"redriven": 4}
    settled = stage.index.get(Ref("shop", "orders"), letters[0])
    assert settled is not None
    assert settled.state is LetterState.REDRIVEN
