"""A review begins only as the API server has it, and with all letters in the index."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.review.server import FAULTS
from tests.review.stage import Stage
from tests.review.test_abandoned_reviews import WITHDRAWAL, crash, running
from tests.review.test_policy_worker import Office, approve, manifest, ready
from troth.resources.references import Ref
from troth.review import policy_worker
from troth.review.brokers import BrokerUnavailableError, DeadLetterTopic
from troth.review.trail.decisions import Requested

FIX = Ref("shop", "fix")


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return Office(Stage(tmp_path))


def requested(office: Office) -> list[tuple[str, int]]:
    entries = office.stage.audit.entries
    return [(each.reason, each.count) for each in entries if isinstance(each, Requested)]


@pytest.mark.parametrize("restarted", [False, True], ids=["same", "restarted"])
async def test_review_that_is_changed_selects_again(office: Office, *, restarted: bool) -> None:
    letters = office.stage.fail(3)
    office.server.put(manifest())
    change = {"select": {"ids": letters[:1]}, "reason": "only the first"}
    async with office.open():
        await office.phase("AwaitingApproval")
        if not restarted:
            office.server.edit("DeadLetterReview", FIX, **change)
            await office.until(lambda: office.server.status("fix")["selection"]["count"] == 1)
    if restarted:
        office.server.edit("DeadLetterReview", FIX, **change)
    async with office.open():
        await office.until(lambda: office.server.status("fix")["selection"]["count"] == 1)
        status = await office.phase("AwaitingApproval")
        assert status["observedGeneration"] == 2
        approve(office, selection=status["selection"]["digest"])
        status = await office.phase("Completed")
    assert requested(office) == [("the consumer is fixed in 1.4.2", 3), ("only the first", 1)]
    assert status["counts"]["redriven"] == 1


async def test_change_that_was_not_seen_before_the_approval_selects_again(office: Office) -> None:
    letters = office.stage.fail(3)
    office.server.put(manifest())
    async with office.open():
        await office.phase("AwaitingApproval")
    office.server.edit("DeadLetterReview", FIX, select={"ids": letters[:1]})
    approve(office)
    async with office.open():
        status = await office.phase("Completed")
    assert status["counts"]["redriven"] == len(office.stage.broker.delivered) == 1
    assert len(requested(office)) == 2


async def test_approval_alone_selects_nothing_again(office: Office) -> None:
    office.stage.fail(1)
    office.server.put(manifest())
    async with office.open():
        await office.phase("AwaitingApproval")
    approve(office)
    async with office.open():
        await office.phase("Completed")
    assert len(requested(office)) == 1


async def test_fault_after_a_change_does_not_hide_the_change(office: Office) -> None:
    letters = office.stage.fail(3)
    office.server.put(manifest())
    async with office.open():
        await office.phase("AwaitingApproval")
        worker = office.worker
        assert worker is not None
        office.server.edit("DeadLetterReview", FIX, select={"ids": letters[:1]})
        worker._statuses.waits(office.cache.reviews[FIX], BrokerUnavailableError("away"))
        await office.until(lambda: office.server.status("fix")["selection"]["count"] == 1)


async def test_review_without_approval_is_read_again_before_it_runs(office: Office) -> None:
    letters = office.stage.fail(3)
    office.stage.desk.review(letters={"approvals": 0})
    append = office.stage.audit.append
    changes: list[dict[str, Any]] = [{"select": {"ids": letters[:1]}}, {"reason": "another"}]

    async def change(entry: object) -> int:
        number = await append(entry)  # type: ignore[arg-type]
        if type(entry).__name__ == "Started" and changes:
            observe, office.server.cache.observe = office.cache.observe, lambda _: None  # type: ignore[method-assign, assignment]
            office.server.edit("DeadLetterReview", FIX, **changes.pop(0))
            office.server.cache.observe = observe  # type: ignore[method-assign]
            observe(office.server.objects["DeadLetterReview", FIX])
        return number

    office.stage.audit.append = change  # type: ignore[method-assign]
    office.server.put(manifest())
    async with office.open():
        status = await office.phase("Completed")
    assert status["counts"]["redriven"] == len(office.stage.broker.delivered) == 1
    assert status["observedGeneration"] == 3


async def test_failing_patches_add_no_entries(office: Office) -> None:
    office.stage.fail(1)
    office.server.put(manifest())
    async with office.open():
        await office.phase("AwaitingApproval")
        patch, failures = office.server.merge_patch, list(FAULTS * 3)

        async def fail(*arguments: object) -> object:
            if failures:
                raise failures.pop()
            return await patch(*arguments)  # type: ignore[arg-type]

        office.server.merge_patch = fail  # type: ignore[assignment]
        approve(office)
        await office.phase("Completed")
    assert not failures
    assert office.decisions() == ["Requested", "Approved", "Started", "Settled", "Ended"]


async def test_withdrawal_does_not_wait_for_the_broker(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policy_worker, "LOOK_SECONDS", 0.2)
    office.stage.fail(1)
    office.server.put(manifest())

    async def silent() -> dict[int, tuple[int, int]]:
        await asyncio.Event().wait()
        raise AssertionError

    async with office.open():
        await office.phase("AwaitingApproval")
        bounds, office.stage.broker.bounds = office.stage.broker.bounds, silent  # type: ignore[method-assign]
        approve(office)
        await office.until(lambda: ready(office.server.status("fix"))[1] == "IndexIncomplete")
        office.server.edit("DeadLetterReview", FIX, withdrawal=WITHDRAWAL)
        await office.phase("Withdrawn")
        office.stage.broker.bounds = bounds  # type: ignore[method-assign]
    assert not office.stage.broker.delivered


@pytest.mark.parametrize("connects", [True, False], ids=["unread", "unconnected"])
async def test_broker_that_never_answers_is_named_and_holds_no_withdrawal(
    office: Office, monkeypatch: pytest.MonkeyPatch, *, connects: bool
) -> None:
    monkeypatch.setattr(policy_worker, "LOOK_SECONDS", 0.2)
    office.server.put(manifest("waits"))
    office.server.put(manifest("ends", withdrawal=WITHDRAWAL))
    office.stage.fail(1)
    office.server.put(running(await crash(office.stage), withdrawal=WITHDRAWAL))

    async def away() -> dict[int, tuple[int, int]]:
        raise BrokerUnavailableError("broker:9092 does not answer")

    def refuse(*_: object) -> DeadLetterTopic:
        raise BrokerUnavailableError("broker:9092 does not answer")

    office.stage.broker.bounds = away  # type: ignore[method-assign]
    if not connects:
        object.__setattr__(office.parts, "connect", refuse)
        entry = office.parts.identity.current.document.messages[0]
        with pytest.raises(BrokerUnavailableError):
            await policy_worker.PolicyWorker(entry, office.parts).run()
        statuses = asyncio.create_task(office.parts.statuses.run())
        await office.until(lambda: office.server.status("waits"))
        await office.until(lambda: office.server.status("fix").get("conditions"))
        statuses.cancel()
    else:
        async with office.open():
            await office.until(lambda: office.server.status("waits"))
            await office.until(lambda: office.server.status("fix").get("conditions"))
    assert ready(office.server.status("waits"))[1] == "BrokerUnavailable"
    assert office.server.status("ends")["phase"] == "Withdrawn"
    assert office.server.status("fix")["phase"] == "Running"
