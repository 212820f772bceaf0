"""A review from its request to its end, with everything that can go wrong in between."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from tests.builders import Manifest
from tests.edge.mounts import workload
from tests.patience import PATIENCE
from tests.review.server import FAULTS, Server
from tests.review.stage import CREATED, POLICY, Stage
from troth.cluster.api import ApiServer
from troth.cluster.errors import ApiError
from troth.edge.events.redrive import redrive_id
from troth.resources.references import Ref
from troth.resources.schema.scalars import format_time
from troth.review.brokers import BrokerUnavailableError
from troth.review.four_eyes import Admission
from troth.review.letters.letter import LetterState
from troth.review.objects.cache import ReviewCache
from troth.review.objects.events import Recorder
from troth.review.objects.finalizers import FINALIZER, Finalizers
from troth.review.objects.statuses import StatusWriter
from troth.review.orphans import Orphans
from troth.review.parts import Parts
from troth.review.policy_worker import PolicyWorker

IN_FORCE = Admission(None, CREATED - timedelta(days=1))
APPROVAL = {"approvedBy": "bob"}


def manifest(name: str = "fix", minutes: int = 0, **spec: Any) -> Manifest:
    """A request by alice."""
    return {
        "apiVersion": "troth.dev/v1alpha1",
        "kind": "DeadLetterReview",
        "metadata": {
            "name": name,
            "namespace": "shop",
            "uid": f"uid-of-{name}",
            "generation": 1,
            "creationTimestamp": format_time(CREATED + timedelta(minutes=minutes)),
        },
        "spec": {
            "policy": {"name": "orders"},
            "action": "Redrive",
            "reason": "the consumer is fixed in 1.4.2",
            "rate": "1000/s",
            "requestedBy": "alice",
        }
        | spec,
    }


class Office:
    """A worker of one policy at a broker and an API server in memory."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.cache = ReviewCache()
        self.server = Server(self.cache)
        self.admission: Admission | ApiError = IN_FORCE
        self.acting = True
        self.worker: PolicyWorker | None = None
        server = cast("ApiServer", self.server)
        self.now = CREATED + timedelta(seconds=60)
        self.parts = Parts(
            identity=stage.desk.identity(stage.desk.reviewer),
            credentials=Path("unused"),
            connect=lambda *_: stage.broker,
            index=stage.index,
            audit=stage.audit,
            cache=self.cache,
            statuses=StatusWriter(self.server, interval=0.05),
            finalizers=Finalizers(self.server),
            recorder=Recorder(server, "test"),
            admission=self._admission,
            require=self._require,
            now=lambda: self.now,
        )

    async def _admission(self) -> Admission:
        if isinstance(self.admission, ApiError):
            raise self.admission
        return self.admission

    def _require(self) -> None:
        if not self.acting:
            raise InterruptedError

    @asynccontextmanager
    async def open(self) -> Any:
        """Run the worker."""
        entry = self.parts.identity.current.document.messages[0]
        self.worker = PolicyWorker(entry, self.parts)
        task = asyncio.create_task(self.worker.run())
        statuses = asyncio.create_task(self.parts.statuses.run())
        try:
            yield
        finally:
            for each in (task, statuses):
                each.cancel()
            with suppress(asyncio.CancelledError):
                await task
            self.worker = None
            await self._threads_end()

    async def _threads_end(self) -> None:
        """Wait for what the worker has begun in threads, which would end with its process.

        A write of the index that comes after the index was forgotten would skip letters.
        """
        executor: Any = getattr(asyncio.get_running_loop(), "_default_executor", None)
        async with asyncio.timeout(PATIENCE):
            while executor and executor._idle_semaphore._value < len(executor._threads):  # noqa: ASYNC110 - a thread pool has no event for it
                await asyncio.sleep(0.01)

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not condition():
                if self.worker is not None:
                    self.worker.wake()
                await asyncio.sleep(0.01)

    async def phase(self, phase: str, name: str = "fix") -> Manifest:
        """Wait for a phase, and return the status."""
        await self.until(lambda: self.server.status(name).get("phase") == phase)
        return self.server.status(name)

    def decisions(self) -> list[str]:
        return [each.decision for each in self.stage.audit.entries]


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    stage = Stage(tmp_path)
    yield Office(stage)
    stage.index.close()


def ready(status: Manifest) -> tuple[str, str]:
    (found,) = (each for each in status["conditions"] if each["type"] == "Ready")
    return found["status"], found["reason"]


def approve(office: Office, name: str = "fix", **more: str) -> None:
    office.server.edit("DeadLetterReview", Ref("shop", name), approval=APPROVAL | more)


def finalizers(office: Office, name: str = "fix") -> list[str]:
    found = office.server.objects["DeadLetterReview", Ref("shop", name)]["metadata"]
    return list(found.get("finalizers", []))


async def test_review_is_selected_approved_and_carried_out(office: Office) -> None:
    letters = office.stage.fail(3)
    office.server.put(manifest())
    async with office.open():
        status = await office.phase("AwaitingApproval")
        assert status["selection"]["count"] == 3
        assert not office.stage.broker.delivered
        approve(office, selection=status["selection"]["digest"])
        status = await office.phase("Completed")
        await office.until(lambda: not finalizers(office))
    assert status["counts"] == {
        "redriven": 3,
        **dict.fromkeys(("discarded", "quarantined", "skipped", "failed", "repeated"), 0),
    }
    assert [each["id"] for each in status["letters"]] == letters
    assert ready(status) == ("True", "Completed")
    assert office.decisions() == ["Requested", "Approved", "Started", "Settled", "Ended"]
    assert office.server.reasons() == ["Selected", "Approved", "Started", "Completed"]
    assert office.stage.broker.ids() == [redrive_id("uid-of-fix", each) for each in letters]


async def test_policy_without_approvals_runs_on_request_alone(office: Office) -> None:
    office.stage.desk.review(letters={"approvals": 0})
    office.stage.fail(1)
    office.server.put(manifest())
    async with office.open():
        assert (await office.phase("Completed"))["counts"]["redriven"] == 1


async def test_other_letters_than_approved_are_left_alone(office: Office) -> None:
    office.stage.fail(2)
    office.server.put(manifest(approval=APPROVAL | {"selection": "x" * 43}))
    async with office.open():
        status = await office.phase("Refused")
    assert ready(status) == ("False", "SelectionChanged")
    assert not office.stage.broker.delivered
    assert office.decisions() == ["Requested", "Refused"]


async def test_letters_that_left_the_index_since_the_approval_end_a_review(office: Office) -> None:
    office.stage.fail(2)
    office.server.put(manifest())
    async with office.open():
        digest = (await office.phase("AwaitingApproval"))["selection"]["digest"]
    office.stage.broker.expire(0)
    office.stage.index.forget(POLICY)
    approve(office, selection=digest)
    async with office.open():
        assert ready(await office.phase("Refused")) == ("False", "SelectionChanged")
    assert not office.stage.broker.delivered


async def test_back_dated_letter_is_not_in_a_selection_that_was_made_before_it(
    office: Office,
) -> None:
    letters = office.stage.fail(2)
    office.server.put(manifest())
    async with office.open():
        digest = (await office.phase("AwaitingApproval"))["selection"]["digest"]
        late = office.stage.fail(1)
        await office.until(lambda: office.stage.index.get(POLICY, late[0]))
        approve(office, selection=digest)
        assert (await office.phase("Completed"))["selection"]["digest"] == digest
    assert office.stage.broker.ids() == [redrive_id("uid-of-fix", each) for each in letters]


async def test_resumed_review_that_selects_other_letters_is_refused(office: Office) -> None:
    office.stage.fail(6)
    office.server.put(manifest(rate="1/s", approval=APPROVAL, select={"limit": 4}))
    async with office.open():
        await office.until(lambda: office.stage.broker.delivered)
        assert office.worker is not None
        await office.worker.stop()
    sent = len(office.stage.broker.delivered)
    # the disk is lost, and the oldest letters have expired
    office.stage.index.forget(POLICY)
    office.stage.index.holds.release(POLICY)
    office.stage.broker.expire(2)
    async with office.open():
        status = await office.phase("Refused")
        await office.until(lambda: not finalizers(office))
    assert ready(status) == ("False", "SelectionChanged")
    assert len(office.stage.broker.delivered) == sent
    assert office.decisions()[-1] == "Refused"


async def test_letter_that_compaction_removed_is_pending_no_more(office: Office) -> None:
    letters = office.stage.fail(2)
    office.server.put(manifest())
    async with office.open():
        await office.phase("AwaitingApproval")
        office.stage.broker.expire(0)
        approve(office)
        assert (await office.phase("Completed"))["counts"]["skipped"] == 1
    found = office.stage.index.get(POLICY, letters[0])
    assert found is not None
    assert found.state is LetterState.GONE


async def test_missing_admission_policy_stops_every_review_until_it_is_back(
    office: Office,
) -> None:
    office.stage.fail(1)
    office.admission = Admission("the policy is missing")
    office.server.put(manifest(approval=APPROVAL))
    async with office.open():
        await office.until(
            lambda: (
                office.server.status("fix").get("conditions")
                and ready(office.server.status("fix"))[1] == "AdmissionPolicyMissing"
            )
        )
        assert office.server.status("fix")["phase"] == "Pending"
        assert not office.stage.broker.delivered
        office.admission = IN_FORCE
        await office.phase("Completed")


async def test_review_says_which_right_the_worker_lacks(office: Office) -> None:
    office.stage.fail(1)
    office.admission = ApiError(
        403,
        "Forbidden",
        'validatingadmissionpolicies.admissionregistration.k8s.io "troth-dead-letter-reviews" is '
        'forbidden: User "system:serviceaccount:troth-system:troth-review" cannot get resource '
        '"validatingadmissionpolicies" in API group "admissionregistration.k8s.io" at the cluster '
        "scope",
    )
    office.server.put(manifest(approval=APPROVAL))
    async with office.open():
        await office.until(
            lambda: (
                office.server.status("fix").get("conditions")
                and ready(office.server.status("fix"))[1] == "APIRequestFailed"
            )
        )
        message = office.server.status("fix")["conditions"][0]["message"]
        assert "ServiceAccount troth-system/troth-review has no right to get" in message
        office.admission = IN_FORCE
        await office.phase("Completed")


async def test_approval_stands_after_the_rights_of_the_approver_are_gone(office: Office) -> None:
    # the API server checked the verb when the approval was written; the worker asks nobody again
    office.stage.fail(1)
    office.server.put(manifest(approval=APPROVAL))
    async with office.open():
        await office.phase("Completed")


async def test_withdrawal_in_the_middle_stops_after_the_batch(office: Office) -> None:
    office.stage.fail(4)
    office.server.put(manifest(rate="1/s", approval=APPROVAL))
    async with office.open():
        await office.until(lambda: office.stage.broker.delivered)
        office.server.edit(
            "DeadLetterReview",
            Ref("shop", "fix"),
            withdrawal={"withdrawnBy": "carol", "reason": "the consumer fails again"},
        )
        status = await office.phase("Withdrawn")
        await office.until(lambda: not finalizers(office))
    sent = len(office.stage.broker.delivered)
    assert 1 <= sent < 4
    assert status["counts"]["redriven"] == sent
    assert ready(status) == ("True", "Withdrawn")
    assert "Ended" not in office.decisions()
    assert sorted(office.stage.states().values()) == ["Pending"] * (4 - sent) + ["Redriven"] * sent


async def test_deleted_review_is_withdrawn_before_it_disappears(office: Office) -> None:
    office.stage.fail(4)
    ref = Ref("shop", "fix")
    office.server.put(manifest(rate="1/s", approval=APPROVAL))
    async with office.open():
        await office.until(lambda: office.stage.broker.delivered)
        assert finalizers(office) == [FINALIZER]
        office.server.delete("DeadLetterReview", ref, office.now)
        await office.until(lambda: ("DeadLetterReview", ref) not in office.server.objects)
    assert office.decisions()[-1] == "Withdrawn"
    assert len(office.stage.broker.delivered) < 4


async def test_one_review_of_a_policy_runs_at_a_time(office: Office) -> None:
    letters = office.stage.fail(3)
    office.server.put(manifest("second", 1, approval=APPROVAL))
    office.server.put(manifest("first", 0, approval=APPROVAL))
    async with office.open():
        await office.phase("Completed", "first")
        status = await office.phase("Completed", "second")
    assert office.stage.broker.ids() == [redrive_id("uid-of-first", each) for each in letters]
    assert status["counts"]["skipped"] == 3
    assert {each["reason"] for each in status["letters"]} == {"SettledBefore"}


async def test_worker_that_ends_between_batches_repeats_nothing(office: Office) -> None:
    letters = office.stage.fail(4)
    office.server.put(manifest(rate="2/s", approval=APPROVAL))
    async with office.open():
        await office.until(lambda: office.stage.broker.delivered)
        assert office.worker is not None
        await office.worker.stop()
    assert len(office.stage.broker.delivered) == 2
    assert ready(office.server.status("fix")) == ("False", "WorkerStopped")
    office.stage.index.forget(POLICY)
    async with office.open():
        status = await office.phase("Completed")
    assert status["counts"]["redriven"] == 4
    assert status["counts"]["repeated"] == 0
    assert office.stage.broker.ids() == [redrive_id("uid-of-fix", each) for each in letters]
    assert "Resumed" in office.server.reasons()


async def test_worker_that_is_killed_counts_what_it_may_repeat(office: Office) -> None:
    office.stage.fail(4)
    office.server.put(manifest(rate="2/s", approval=APPROVAL))
    async with office.open():
        await office.until(lambda: office.stage.broker.delivered)
    office.stage.index.forget(POLICY)
    async with office.open():
        status = await office.phase("Completed")
    assert status["counts"]["redriven"] == 4
    assert 1 <= status["counts"]["repeated"] <= 2
    assert len(set(office.stage.broker.ids())) == 4


async def test_lost_lease_ends_the_work_before_the_next_batch(office: Office) -> None:
    office.stage.fail(4)
    office.server.put(manifest(rate="1/s", approval=APPROVAL))
    with pytest.RaisesGroup(InterruptedError, flatten_subgroups=True):
        async with office.open():
            await office.until(lambda: office.stage.broker.delivered)
            office.acting = False
            await office.until(lambda: office.worker and office.worker._running is None)
            await asyncio.sleep(0.1)
    assert len(office.stage.broker.delivered) <= 2


async def test_broker_that_is_away_is_waited_for(office: Office) -> None:
    office.stage.fail(2)
    office.server.put(manifest(approval=APPROVAL))
    office.stage.broker.faults = []
    async with office.open():
        await office.until(lambda: office.worker and office.worker.ready)
        await office.phase("Completed")
        office.stage.fail(1)
        office.server.put(manifest("again", 1, approval=APPROVAL))
        office.stage.broker.faults = [BrokerUnavailableError("no answer")] * 2
        status = await office.phase("Completed", "again")
    assert status["counts"]["redriven"] == 1


async def test_api_server_that_fails_is_waited_for(office: Office) -> None:
    office.stage.fail(2)
    office.server.faults = list(FAULTS * 2)
    office.server.put(manifest(approval=APPROVAL))
    async with office.open():
        assert (await office.phase("Completed"))["counts"]["redriven"] == 2


async def test_reviewer_without_its_grant_waits_and_says_so(office: Office) -> None:
    office.stage.fail(1)
    office.server.put(manifest())
    async with office.open():
        await office.phase("AwaitingApproval")
        office.stage.desk.forbid()
        approve(office)
        await office.until(lambda: ready(office.server.status("fix"))[1] == "NotGranted")
        assert not office.stage.broker.delivered
        office.stage.desk.review()
        await office.phase("Completed")


async def test_producer_that_lost_its_grant_is_skipped(office: Office) -> None:
    office.stage.fail(1)
    office.server.put(manifest())
    async with office.open():
        await office.phase("AwaitingApproval")
        office.stage.desk.review(producers=[workload("other")])
        approve(office)
        status = await office.phase("Completed")
    assert status["counts"]["skipped"] == 1
    assert status["letters"][0]["reason"] == "ProducerNotGranted"


async def test_counts_of_the_policy_are_in_its_status(office: Office) -> None:
    office.stage.fail(2)
    policy = {
        "apiVersion": "troth.dev/v1alpha1",
        "kind": "TopicPolicy",
        "metadata": {"name": "orders", "namespace": "shop", "uid": "policy-uid"},
        "spec": {},
    }
    office.server.put(policy)
    async with office.open():
        await office.until(lambda: office.server.statuses)
    (written,) = office.server.statuses
    assert written["status"]["deadLetters"]["pending"] == 2
    assert written["status"]["deadLetters"]["reasons"] == [{"reason": "HandlerFailed", "count": 2}]


@pytest.mark.parametrize(
    ("spec", "phase", "reason"),
    [(None, "Running", "PolicyNotFound"), ({"deadLetter": {}}, "Running", "ReviewerMissing")],
)
async def test_running_review_whose_policy_nobody_reviews_says_so(
    office: Office, spec: Manifest | None, phase: str, reason: str
) -> None:
    made = manifest(approval=APPROVAL)
    made["metadata"]["finalizers"] = [FINALIZER]
    made["status"] = {"phase": "Running", "observedGeneration": 1}
    office.server.put(made)
    if spec is not None:
        meta = {"name": "orders", "namespace": "shop", "uid": "policy-uid"}
        office.server.put({"kind": "TopicPolicy", "metadata": meta, "spec": spec})
    orphans = Orphans(office.parts, set)
    for _ in range(2):
        await orphans.step(office.cache.reviews[Ref("shop", "fix")])
    status = office.server.status("fix")
    assert (status["phase"], ready(status)[1]) == (phase, reason)
    assert finalizers(office) == ([] if phase == "Refused" else [FINALIZER])
    assert len(office.server.statuses) == 1
    office.server.delete("DeadLetterReview", Ref("shop", "fix"), office.now)
    if phase != "Refused":
        await orphans.step(office.cache.reviews[Ref("shop", "fix")])
    assert not office.server.objects.get(("DeadLetterReview", Ref("shop", "fix")))


async def test_running_review_is_refused_by_the_worker_that_reviewed_its_deleted_policy(
    office: Office,
) -> None:
    made = manifest(approval=APPROVAL)
    made["metadata"]["finalizers"] = [FINALIZER]
    made["status"] = {"phase": "Running", "observedGeneration": 1}
    office.server.put(made)
    served = {POLICY}
    orphans = Orphans(office.parts, lambda: served)
    running = asyncio.create_task(orphans.run())
    await asyncio.sleep(0.05)
    assert not office.server.statuses
    served.clear()
    orphans.wake()
    status = await office.phase("Refused")
    await office.until(lambda: not finalizers(office))
    assert ready(status)[1] == "PolicyNotFound"
    assert office.decisions() == ["Refused"]
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_review_of_another_worker_is_left_alone(office: Office) -> None:
    office.server.put(manifest())
    meta = {"name": "orders", "namespace": "shop", "uid": "policy-uid"}
    spec = {"deadLetter": {"reviewer": {"name": "other"}}}
    office.server.put({"kind": "TopicPolicy", "metadata": meta, "spec": spec})
    await Orphans(office.parts, set).step(office.cache.reviews[Ref("shop", "fix")])
    assert not office.server.statuses
