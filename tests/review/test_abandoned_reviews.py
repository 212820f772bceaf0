"""A review that ends after a crash says which letters were perhaps delivered."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.builders import Manifest
from tests.edge.mounts import workload
from tests.review.broker import Killed
from tests.review.stage import Stage, review
from tests.review.test_policy_worker import APPROVAL, Office, finalizers, manifest, ready
from troth.resources.references import Ref
from troth.resources.schema.scalars import format_time
from troth.review.objects.finalizers import FINALIZER
from troth.review.orphans import Orphans
from troth.review.running.job import Job
from troth.review.trail.decisions import Decision, Settled

WITHDRAWAL = {"withdrawnBy": "carol", "reason": "the consumer fails again"}
FIX = Ref("shop", "fix")


async def crash(stage: Stage, **spec: Any) -> Job:
    """Let a process end after it has delivered a batch and before the audit log has it."""
    stage.reborn()
    job = replace(stage.job(review("fix", **spec)), uid="uid-of-fix")
    append = stage.audit.append

    async def die(entry: Decision) -> int:
        raise Killed(entry)

    stage.audit.append = die  # type: ignore[method-assign]
    with pytest.raises(Killed):
        await stage.runner(job).run()
    stage.audit.append = append  # type: ignore[method-assign]
    return job


def running(job: Job, **spec: Any) -> Manifest:
    """The review as the API server has it after the crash."""
    made = manifest(approval=APPROVAL, **spec)
    made["metadata"]["finalizers"] = [FINALIZER]
    selection = {
        "count": job.selection.count,
        "digest": job.selection.digest,
        "at": format_time(job.selection.at),
    }
    made["status"] = {"phase": "Running", "observedGeneration": 1, "selection": selection}
    return made


def outcomes(status: Manifest) -> list[tuple[str, str]]:
    return [(each["outcome"], each.get("reason", "")) for each in status["letters"]]


@pytest.mark.parametrize("rate", ["1000/s", "2/s"])
async def test_withdrawal_after_a_crash_reports_the_batch(tmp_path: Path, rate: str) -> None:
    stage = Stage(tmp_path)
    office = Office(stage)
    letters = stage.fail(3)
    job = await crash(stage, rate=rate)
    delivered = len(stage.broker.ids())
    office.server.put(running(job, withdrawal=WITHDRAWAL, rate=rate))
    async with office.open():
        status = await office.phase("Withdrawn")
    assert outcomes(status) == [("Failed", "DeliveryUncertain")] * delivered
    assert [each["id"] for each in status["letters"]] == letters[:delivered]
    assert status["counts"]["failed"] == status["counts"]["repeated"] == delivered
    assert stage.audit.settled() == {(each, "Failed"): 1 for each in letters[:delivered]}
    assert office.decisions() == ["Settled", "Withdrawn"]


async def test_refusal_after_a_crash_reports_the_batch(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    office = Office(stage)
    stage.fail(2)
    job = await crash(stage)
    made = running(job)
    made["spec"]["approval"] = APPROVAL | {"selection": "x" * 43}
    office.server.put(made)
    async with office.open():
        status = await office.phase("Refused")
    assert outcomes(status) == [("Failed", "DeliveryUncertain")] * 2
    assert status["counts"]["repeated"] == 2


@pytest.mark.parametrize("indexed", [True, False], ids=["indexed", "unindexed"])
async def test_deletion_of_the_policy_after_a_crash_reports_the_batch(
    tmp_path: Path, *, indexed: bool
) -> None:
    stage = Stage(tmp_path)
    office = Office(stage)
    stage.fail(2)
    job = await crash(stage)
    if not indexed:
        stage.index.forget(Ref("shop", "orders"))
    office.server.put(running(job))
    orphans = Orphans(office.parts, set)
    orphans._mine.add(Ref("shop", "orders"))
    for _ in range(2):
        await orphans.step(office.cache.reviews[FIX])
    status = office.server.status("fix")
    assert ready(status)[1] == "PolicyNotFound"
    assert status["counts"]["repeated"] == 2
    assert not finalizers(office)
    settled = [each for each in stage.audit.entries if isinstance(each, Settled)]
    assert len(settled) == indexed
    if indexed:
        assert outcomes(status) == [("Failed", "DeliveryUncertain")] * 2


async def test_withdrawal_between_batches_reports_nothing(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    office = Office(stage)
    stage.fail(4)
    office.server.put(manifest(rate="2/s", approval=APPROVAL))
    async with office.open():
        await office.until(lambda: stage.broker.delivered)
        office.server.edit("DeadLetterReview", FIX, withdrawal=WITHDRAWAL)
        status = await office.phase("Withdrawn")
    assert status["counts"]["repeated"] == status["counts"]["failed"] == 0
    assert status["counts"]["redriven"] == len(stage.broker.delivered)


async def test_letter_with_an_obstacle_after_a_crash_is_not_skipped(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.fail(2)
    job = await crash(stage)
    stage.desk.review(producers=[workload("other")])
    runner = stage.runner(replace(job, uncertain=True))
    assert await runner.run()
    numbers = runner.progress.numbers()
    assert (numbers["failed"], numbers["skipped"], numbers["repeated"]) == (2, 0, 2)
    assert {each.reason for each in runner.progress.letters()} == {"DeliveryUncertain"}


async def test_stop_before_the_first_batch_of_a_resumed_review_reports_it(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.fail(3)
    job = replace(await crash(stage, rate="2/s"), uncertain=True)
    runner = stage.runner(job, stage.runner_desk(stop=lambda: True))
    assert not await runner.run()
    await runner.abandon()
    numbers = runner.progress.numbers()
    assert (numbers["failed"], numbers["repeated"]) == (2, 2)
    assert set(stage.states().values()) == {"Pending"}
