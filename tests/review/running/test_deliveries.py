"""Redrives are sealed shortly before they are delivered, and each is recorded."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from tests.edge.mounts import workload
from tests.review.stage import Stage, review
from troth.edge.events.message import Sealed
from troth.edge.events.redrive import redrive_id
from troth.review.brokers import (
    BrokerUnavailableError,
    DeniedError,
    Redelivery,
    Stored,
    TooLargeError,
)
from troth.review.letters.letter import Position
from troth.review.letters.records import Record, parse
from troth.review.running.runner import Runner
from troth.review.trail.decisions import Decision, Settled


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def numbers(runner: Runner) -> dict[str, int]:
    return {name: count for name, count in runner.progress.numbers().items() if count}


def reasons(runner: Runner) -> list[str | None]:
    return [each.reason for each in runner.progress.letters()]


class Ages:
    """Ages of redrives in seconds when they are delivered."""

    def __init__(self, stage: Stage) -> None:
        self.all: list[float] = []
        self._sealed = 0.0
        fetch, redeliver = stage.broker.fetch, stage.broker.redeliver

        async def fetched(letters: Sequence[object]) -> Mapping[Position, Stored]:
            self._sealed = stage.elapsed
            return await fetch(letters)

        async def redelivered(messages: Sequence[Redelivery]) -> Sequence[Exception | None]:
            self.all.append(stage.elapsed - self._sealed)
            return await redeliver(messages)

        stage.broker.fetch = fetched  # type: ignore[method-assign]
        stage.broker.redeliver = redelivered  # type: ignore[method-assign]


async def test_redrive_is_sealed_after_the_wait_for_the_rate(stage: Stage) -> None:
    stage.fail(3)
    stage.feed()
    ages = Ages(stage)
    assert await stage.runner(stage.job(review(rate="10/h"))).run()
    assert stage.elapsed > 600
    assert ages.all == [0.0] * 3


async def test_redrive_is_sealed_again_after_an_outage(stage: Stage) -> None:
    letters = stage.fail(2)
    stage.feed()
    ages = Ages(stage)

    def outage() -> None:
        stage.elapsed += 400

    job = stage.job(review())
    runner = stage.runner(job, stage.runner_desk(on_pause=outage))
    first = redrive_id(job.uid, letters[0])
    results: list[list[Exception | None]] = [
        [BrokerUnavailableError("away")] * 2,
        [DeniedError("no grant")] * 2,
    ]
    redeliver = stage.broker.redeliver

    async def fail(messages: Sequence[Redelivery]) -> Sequence[Exception | None]:
        assert messages[0].id == first
        delivered = await redeliver(messages)
        return results.pop(0) if results else delivered

    stage.broker.redeliver = fail  # type: ignore[method-assign]
    assert await runner.run()
    assert ages.all == [0.0] * 3
    assert numbers(runner) == {"redriven": 2, "repeated": 2}


async def test_redrive_is_sealed_again_if_the_audit_log_was_slow(stage: Stage) -> None:
    stage.fail(3)
    stage.feed()
    job = stage.job(review())
    stage.broker.expire(0)
    ages = Ages(stage)
    append = stage.audit.append

    async def slow(entry: Decision) -> int:
        stage.elapsed += 400
        return await append(entry)

    stage.audit.append = slow  # type: ignore[method-assign]
    runner = stage.runner(job)
    assert await runner.run()
    assert ages.all == [0.0]
    assert numbers(runner) == {"redriven": 2, "skipped": 1}
    assert stage.audit.settled().total() == 3


@pytest.mark.parametrize(
    ("fault", "found"),
    [
        (DeniedError("no grant"), ("skipped", "ProducerNotGranted")),
        (BrokerUnavailableError("timed out"), ("failed", "DeliveryUncertain")),
    ],
    ids=["denied", "uncertain"],
)
async def test_letter_is_judged_again_after_a_fault(
    stage: Stage, fault: Exception, found: tuple[str, str]
) -> None:
    stage.fail(1)
    stage.feed()

    def revoke() -> None:
        stage.desk.review(producers=[workload("other")])

    runner = stage.runner(stage.job(review()), stage.runner_desk(on_pause=revoke))

    async def fail(messages: Sequence[Redelivery]) -> Sequence[Exception | None]:
        return [fault]

    stage.broker.redeliver = fail  # type: ignore[method-assign]
    assert await runner.run()
    outcome, reason = found
    assert runner.progress.numbers()[outcome] == 1
    assert reasons(runner) == [reason]


async def test_denial_after_a_lost_answer_does_not_make_the_delivery_certain(stage: Stage) -> None:
    stage.fail(1)
    stage.feed()
    results: list[Exception] = [BrokerUnavailableError("timed out"), DeniedError("no grant")]
    desk = stage.runner_desk(stop=lambda: not results)
    runner = stage.runner(stage.job(review()), desk)

    async def fail(messages: Sequence[Redelivery]) -> Sequence[Exception | None]:
        return [results.pop(0)]

    stage.broker.redeliver = fail  # type: ignore[method-assign]
    assert not await runner.run()
    assert numbers(runner) == {"failed": 1, "repeated": 1}


async def test_nothing_is_delivered_while_the_audit_log_has_a_fault(stage: Stage) -> None:
    stage.fail(1)
    stage.feed()
    stage.audit.fault = "the topic of the audit log does not answer"

    def mended() -> None:
        assert not stage.broker.delivered
        stage.audit.fault = None

    desk = stage.runner_desk(on_pause=mended)
    runner = stage.runner(stage.job(review()), desk)
    assert await runner.run()
    assert numbers(runner) == {"redriven": 1}
    assert [reason for reason, _ in desk.waited] == ["AuditLogUnavailable"]


async def test_letters_with_obstacles_cost_no_tokens(stage: Stage) -> None:
    stage.fail(4)
    stage.feed()
    job = stage.job(review(rate="2/m"))
    for offset in range(3):
        stage.broker.expire(offset)
    assert await stage.runner(job).run()
    assert stage.elapsed == 0


def limit_records(stage: Stage, most: int) -> list[int]:
    """Let the broker accept no record of more letters; return the sizes that it accepted."""
    record, sizes = stage.broker.record, list[int]()

    async def limited(sealed: Sealed) -> None:
        count = len(parse(sealed.data).outcomes)
        if count > most:
            raise TooLargeError("too large")
        sizes.append(count)
        await record(sealed)

    stage.broker.record = limited  # type: ignore[method-assign]
    return sizes


@pytest.mark.parametrize("action", ["Redrive", "Discard"])
async def test_record_that_is_too_large_is_published_in_parts(stage: Stage, action: str) -> None:
    stage.fail(5)
    stage.feed()
    sizes = limit_records(stage, 2)
    runner = stage.runner(stage.job(review(action=action)))
    assert await runner.run()
    assert sizes == [2, 1, 2]
    assert "Pending" not in stage.states().values()
    assert len(set(stage.broker.ids())) == len(stage.broker.ids())
    assert sum(isinstance(each, Settled) for each in stage.audit.entries) == 1


async def test_record_that_no_reader_would_accept_is_published_in_parts(stage: Stage) -> None:
    stage.fail(2)
    stage.feed()
    runner = stage.runner(stage.job(review(action="Discard")))
    seal, tries = runner._tools.records.seal, list[int]()

    def strict(record: Record) -> Sealed:
        tries.append(len(record.outcomes))
        if len(record.outcomes) > 1:
            raise ValueError("a record has at most 262144 bytes")
        return seal(record)

    runner._tools.records.seal = strict  # type: ignore[method-assign]
    assert await runner.run()
    assert tries == [2, 1, 1]
    assert set(stage.states().values()) == {"Discarded"}


async def test_record_of_one_letter_that_is_too_large_waits(stage: Stage) -> None:
    stage.fail(1)
    stage.feed()
    record, tries = stage.broker.record, list[Sealed]()

    async def limited(sealed: Sealed) -> None:
        tries.append(sealed)
        if len(tries) < 3:
            raise TooLargeError("too large")
        await record(sealed)

    stage.broker.record = limited  # type: ignore[method-assign]
    desk = stage.runner_desk()
    runner = stage.runner(stage.job(review()), desk)
    assert await runner.run()
    assert [reason for reason, _ in desk.waited] == ["RecordTooLarge"] * 2
    assert len(stage.broker.delivered) == 1
