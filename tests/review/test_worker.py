"""The worker: its Lease, its policies as the identity's files name them, and its end."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from tests.builders import Manifest
from tests.edge.events.trade import leaf
from tests.patience import PATIENCE
from tests.review.desk import DLQ, REVIEWER, reviewed
from tests.review.following import until
from tests.review.stage import CREATED, POLICY, Stage
from tests.review.test_four_eyes import NAME, binding, policy
from tests.review.test_policy_worker import APPROVAL, manifest, ready
from tests.review.watched import WatchedServer
from troth.cluster.api import ApiServer
from troth.documents.identity.document import Messages
from troth.resources.references import Ref
from troth.review.brokers import BrokerUnavailableError, DeadLetterTopic, Redelivery
from troth.review.worker import Settings, Worker, _key

FIX = Ref("shop", "fix")


@dataclass
class Fence:
    """A Lease that the test gives and takes; `ended` says whether it was released."""

    held: asyncio.Event = field(default_factory=asyncio.Event)
    ended: bool = False

    @property
    def acting(self) -> bool:
        return self.held.is_set()

    async def gained(self) -> None:
        await self.held.wait()

    async def run(self) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            self.held.clear()
            self.ended = True


class Bureau:
    """A worker with a broker and an API server in memory."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.server = WatchedServer()
        self.fence = Fence()
        self.connected: list[str] = []
        self.faults: dict[str, BaseException] = {}
        """What connecting to the broker of a policy raises."""
        for kind, made in (("", policy()), ("Binding", binding())):
            self.server.put({"kind": f"ValidatingAdmissionPolicy{kind}", **made})
        self.server.put(
            {
                "kind": "TopicPolicy",
                "metadata": {**POLICY._asdict(), "uid": "policy-uid"},
                "spec": {"deadLetter": {"reviewer": {"name": "reviewer"}}},
            }
        )
        self.worker = Worker(
            cast("ApiServer", self.server),
            Settings("troth", "one", Path("unused"), NAME),
            stage.desk.identity(stage.desk.reviewer),
            stage.index,
            stage.audit,
            connect=self._connect,
            fence=self.fence,
            now=lambda: CREATED + timedelta(seconds=60),
        )

    def _connect(self, entry: Messages, _: Path) -> DeadLetterTopic:
        self.connected.append(entry.policy)
        if fault := self.faults.get(entry.policy):
            raise fault
        return self.stage.broker

    @asynccontextmanager
    async def open(self, *, leading: bool = True) -> AsyncIterator[asyncio.Task[None]]:
        """Run the worker."""
        if leading:
            self.fence.held.set()
        running = asyncio.create_task(self.worker.run())
        try:
            yield running
        finally:
            running.cancel()
            await asyncio.wait({running}, timeout=PATIENCE)

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(PATIENCE):
            await until(lambda: bool(condition()))

    async def phase(self, phase: str) -> Manifest:
        await self.until(lambda: self.server.status("fix").get("phase") == phase)
        return self.server.status("fix")


@pytest.fixture
def bureau(tmp_path: Path) -> Iterator[Bureau]:
    stage = Stage(tmp_path)
    yield Bureau(stage)
    stage.index.close()


def running_before(bureau: Bureau) -> None:
    """Let another process have begun a review."""
    made = manifest(approval=APPROVAL)
    made["status"] = {"phase": "Running", "observedGeneration": 1}
    bureau.server.put(made)


async def test_review_is_carried_out_by_the_replica_with_the_lease(bureau: Bureau) -> None:
    bureau.stage.fail(2)
    bureau.server.put(manifest(approval=APPROVAL))
    async with bureau.open(leading=False):
        await bureau.until(lambda: bureau.worker.ready)
        await asyncio.sleep(0.5)
        assert not bureau.server.statuses
        assert not bureau.connected
        bureau.fence.held.set()
        assert (await bureau.phase("Completed"))["counts"]["redriven"] == 2


async def test_running_review_is_left_alone_until_policies_are_known(bureau: Bureau) -> None:
    bureau.server.listing.clear()
    bureau.stage.desk.forbid()
    running_before(bureau)
    # another worker reviews the policy; the informer of reviews is the faster one
    bureau.worker.cache.observe(bureau.server.objects["DeadLetterReview", FIX])
    async with bureau.open():
        await asyncio.sleep(1.5)
        assert not bureau.server.statuses
        bureau.server.listing.set()
        await bureau.until(lambda: bureau.worker.ready)
        await asyncio.sleep(1.5)
        assert not bureau.server.statuses
    assert not bureau.stage.audit.entries


async def test_lost_lease_ends_the_policies_and_a_regained_one_starts_them(bureau: Bureau) -> None:
    bureau.stage.fail(4)
    bureau.server.put(manifest(rate="1/s", approval=APPROVAL))
    async with bureau.open():
        await bureau.until(lambda: bureau.stage.broker.delivered)
        bureau.fence.held.clear()
        await bureau.until(lambda: not bureau.worker.policies)
        delivered, written = len(bureau.stage.broker.delivered), len(bureau.server.statuses)
        assert delivered < 4
        await asyncio.sleep(1.5)
        assert len(bureau.stage.broker.delivered) == delivered
        assert len(bureau.server.statuses) == written
        bureau.fence.held.set()
        status = await bureau.phase("Completed")
    assert status["counts"]["redriven"] == 4
    ids = bureau.stage.broker.ids()
    assert len(ids) - len(set(ids)) <= status["counts"]["repeated"]


async def test_status_of_another_replica_is_not_overwritten_after_the_lease_is_regained(
    bureau: Bureau,
) -> None:
    bureau.stage.fail(4)
    bureau.server.put(manifest(rate="1/s", approval=APPROVAL))
    async with bureau.open():
        await bureau.until(lambda: bureau.stage.broker.delivered)
        bureau.fence.held.clear()
        await bureau.until(lambda: not bureau.worker.policies)
        # whatever was known then, the other replica may have changed
        assert not bureau.worker._statuses._known
        made = bureau.server.objects["DeadLetterReview", FIX]
        made["status"] = {**made["status"], "phase": "Completed"}
        bureau.server.put(made)  # by the other replica
        written = len(bureau.server.statuses)
        bureau.fence.held.set()
        await bureau.until(lambda: bureau.worker.policies)
        await asyncio.sleep(1.5)
        later = bureau.server.statuses[written:]
    assert [each for each in later if each["kind"] == "DeadLetterReview"] == []


async def test_statuses_of_deleted_reviews_are_forgotten(bureau: Bureau) -> None:
    bureau.server.put(manifest())
    async with bureau.open():
        await bureau.phase("AwaitingApproval")
        bureau.server.delete("DeadLetterReview", FIX, CREATED)
        known = bureau.worker._statuses._known
        await bureau.until(lambda: all(each.ref != FIX for each in known))


async def test_worker_that_ends_finishes_its_batch_while_it_has_the_lease(
    bureau: Bureau, monkeypatch: pytest.MonkeyPatch
) -> None:
    bureau.stage.fail(3)
    bureau.server.put(manifest(approval=APPROVAL))
    begun, go_on = asyncio.Event(), asyncio.Event()
    deliver = bureau.stage.broker.redeliver
    released: list[bool] = []

    async def slowly(messages: Sequence[Redelivery]) -> Sequence[Exception | None]:
        begun.set()
        await go_on.wait()
        released.append(bureau.fence.ended)
        return await deliver(messages)

    monkeypatch.setattr(bureau.stage.broker, "redeliver", slowly)
    async with bureau.open() as running:
        await begun.wait()
        running.cancel()
        await asyncio.sleep(0.2)
        go_on.set()
        await asyncio.wait({running})
    assert released == [False]
    assert bureau.fence.ended
    assert bureau.stage.audit.settled().total() == 3
    assert set(bureau.stage.states().values()) == {"Redriven"}


@pytest.mark.parametrize(
    "fault", [BrokerUnavailableError("away"), ZeroDivisionError()], ids=["broker", "fault"]
)
async def test_policy_that_fails_is_tried_again_while_others_go_on(
    bureau: Bureau, fault: BaseException
) -> None:
    desk = bureau.stage.desk
    other = reviewed(policy="shop/broken")
    certificate = leaf(REVIEWER, at=desk.now)
    desk.write(desk.reviewer, certificate, REVIEWER, None, [other, reviewed()])
    bureau.faults["shop/broken"] = fault
    bureau.stage.fail(1)
    bureau.server.put(manifest(approval=APPROVAL))
    async with bureau.open():
        await bureau.phase("Completed")
        await bureau.until(lambda: bureau.connected.count("shop/broken") > 1)
    assert bureau.connected.count("shop/orders") == 1


async def test_policy_ends_and_starts_with_its_entry(bureau: Bureau) -> None:
    bureau.stage.fail(1)
    bureau.stage.desk.forbid()
    bureau.server.put(manifest(approval=APPROVAL))
    async with bureau.open():
        await bureau.until(lambda: bureau.worker.ready)
        await asyncio.sleep(0.2)
        assert not bureau.worker.policies
        bureau.stage.desk.review()
        await bureau.phase("Completed")
        bureau.stage.desk.forbid()
        await bureau.until(lambda: not bureau.worker.policies)


async def test_status_says_that_the_identity_lost_the_policy(bureau: Bureau) -> None:
    bureau.server.put(manifest())
    async with bureau.open():
        await bureau.phase("AwaitingApproval")
        bureau.stage.desk.forbid()
        status = await bureau.phase("Pending")
    assert ready(status)[1] == "ReviewerNotGranted"


@pytest.mark.parametrize(
    "changed",
    [
        {"stream": "OTHER"},
        {"letters": {"topic": "prod.other.dlq"}},
        {"letters": {"topic": DLQ, "stream": "OTHER"}},
        {"principal": "another"},
        {"broker": "shop/other"},
    ],
    ids=["stream", "dead-letter topic", "dead-letter stream", "principal", "broker"],
)
def test_changed_entry_needs_another_connection(changed: dict[str, Any]) -> None:
    def key(**members: Any) -> object:
        return _key(Messages.model_validate(reviewed(**members)))

    assert key(**changed) != key()
    assert key() == key(letters={"approvals": 0})
