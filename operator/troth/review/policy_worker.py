"""The reviews of one policy: from the request to the end, one running at a time.

The topic and the API server hold all state. What fails is tried again: the broker, the identity,
the API server. A review that waits says why in its conditions.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime

from troth.cluster.errors import ApiError
from troth.documents.identity.document import Messages
from troth.edge.events.rejection import RejectedError
from troth.edge.identity.snapshot import IdentityError
from troth.resources.references import Ref
from troth.resources.reviews.dead_letter_review import DeadLetterReview
from troth.resources.reviews.dead_letter_review_status import (
    DeadLetterReviewStatus,
    ReviewPhase,
)
from troth.review.abandonment import is_abandoned
from troth.review.beginnings import begin, is_unchanged, lag_of
from troth.review.brokers import BrokerUnavailableError, DeadLetterTopic, Stored
from troth.review.endings import Endings
from troth.review.equipment import Equipment
from troth.review.four_eyes import Decision, Verdict, verdict_of, withdrawal_of
from troth.review.index.feeder import Feeder
from troth.review.letters.letter import Letter, Position
from troth.review.parts import Parts
from troth.review.review_statuses import ReviewStatuses, offer_counts
from troth.review.running.desk import RunDesk
from troth.review.running.job import (
    Job,
    NotIndexedError,
    SelectionChangedError,
    about,
)
from troth.review.running.runner import Runner
from troth.review.selection import Selector, created_at
from troth.review.state import (
    STOPPED,
    Place,
    advanced,
    is_same,
    moved,
    needs_selection,
    waiting,
)
from troth.review.trail import decisions

LOOK_SECONDS = 10.0
"""Maximum time between two looks at the reviews of a policy."""
_FAULTS = (ApiError, IdentityError, RejectedError, BrokerUnavailableError, NotIndexedError)


class PolicyWorker:
    """Carries out the reviews of one policy."""

    def __init__(self, entry: Messages, parts: Parts) -> None:
        """`entry` is that of the policy in `identity.json`. Nothing is connected yet."""
        self.policy = Ref.parse(entry.policy)
        self.ready = False
        """Whether the index has what was on the topic at the start."""
        self._entry = entry
        self._parts = parts
        self._equipment = Equipment(entry.policy, parts)
        self.originals, self.judge = self._equipment.originals, self._equipment.judge
        self._topic: DeadLetterTopic | None = None
        self.feeder: Feeder | None = None
        """What feeds the index, None while nothing is connected."""
        self._statuses = ReviewStatuses(parts)
        self._endings = Endings(parts, self._statuses)
        self._selector = Selector(parts.index)
        self._running: asyncio.Task[None] | None = None
        self._current: DeadLetterReview | None = None
        self._wake = asyncio.Event()
        self.stopping = False

    def wake(self) -> None:
        """Look at the reviews again."""
        self._wake.set()

    async def fetch(self, letters: Sequence[Letter]) -> Mapping[Position, Stored]:
        """Return what the broker still has of letters; raises `BrokerUnavailableError`."""
        topic = self._topic
        if topic is None:
            raise BrokerUnavailableError(f"the broker of {self.policy} is not connected")
        found: dict[Position, Stored] = {}
        for each in letters:
            stored = await topic.get(each.position)
            if stored is not None:
                found[each.position] = stored
            else:
                await asyncio.to_thread(self._parts.index.mark_missing, each)
        return found

    async def run(self) -> None:
        """Follow the topic and the reviews until cancelled; raises what `Parts.require` raises."""
        self.ready = False
        try:
            topic = self._parts.connect(self._entry, self._parts.credentials)
        except BrokerUnavailableError as error:
            await self._step_all(None, error)
            raise
        self._topic = topic
        feeder = self.feeder = Feeder(
            topic,
            self._parts.index,
            self.originals,
            unreadable=self._parts.unreadable(self.policy),
        )
        try:
            async with asyncio.TaskGroup() as tasks:
                feeding = tasks.create_task(feeder.run())
                tasks.create_task(self._report())
                await self._follow(topic, feeder)
                feeding.cancel()
        finally:
            if self._running is not None:
                self._running.cancel()
                await asyncio.gather(self._running, return_exceptions=True)
            self._topic = self.feeder = None
            await topic.close()

    async def stop(self) -> None:
        """End the running review between two batches, so that nothing is repeated later."""
        self.stopping = True
        self._wake.set()
        if self._running is not None:
            await asyncio.wait({self._running})

    # The reviews

    async def _follow(self, topic: DeadLetterTopic, feeder: Feeder) -> None:
        while True:
            self._wake.clear()
            if self._running is not None and self._running.done():
                task, self._running, self._current = self._running, None, None
                task.result()
            fault = None if self.ready else await lag_of(feeder, LOOK_SECONDS)
            self.ready = fault is None
            await self._step_all(topic, fault)
            self._statuses.forget_deleted(self.policy)
            self._selector.forget_all_but(
                {each.metadata.uid for each in self._parts.cache.of(self.policy)}
            )
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS if self.ready else 1):
                    await self._wake.wait()

    async def _step_all(self, topic: DeadLetterTopic | None, fault: Exception | None) -> None:
        """Bring each review forward; with a fault, end those that need no letters."""
        for review in self._parts.cache.of(self.policy):
            try:
                if fault is None and topic is not None:
                    await self._step(review, topic)
                elif not await self._ended_unbegun(review):
                    self._statuses.waits(review, fault or NotIndexedError("not connected"))
            except _FAULTS as error:
                self._statuses.waits(review, error)

    async def _ended_unbegun(self, review: DeadLetterReview) -> bool:
        """End a withdrawn review whose letters are not needed; return whether it has ended."""
        status = self._statuses.of(review)
        if status.phase.ended:
            await self._parts.finalizers.remove(review)
            return True
        verdict = withdrawal_of(review)
        if verdict is None or self._current is not None or is_abandoned(status):
            return False
        await self._endings.withdraw(review, status, verdict)
        return True

    async def _step(self, review: DeadLetterReview, topic: DeadLetterTopic) -> None:
        """Bring one review forward."""
        if self._current is not None and self._current.metadata.uid == review.metadata.uid:
            return
        status = self._statuses.of(review)
        if status.phase.ended:
            await self._parts.finalizers.remove(review)
            return
        if needs_selection(review, status):
            status = await self._select(review, status, self._feeding)
        verdict = await self._verdict(review, status)
        match verdict.decision:
            case Decision.WITHDRAW:
                status = await self._abandon(review, status, topic)
                await self._endings.withdraw(review, status, verdict)
            case Decision.REFUSE:
                status = await self._abandon(review, status, topic)
                await self._endings.refuse(review, status, verdict.reason, verdict.message)
            case Decision.WAIT:
                await self._statuses.move(review, status, waiting(status, verdict))
            case Decision.AWAIT_APPROVAL:
                phase = Place(ReviewPhase.AWAITING_APPROVAL, verdict.reason, verdict.message)
                await self._statuses.move(review, status, phase)
            case Decision.RUN if self._running is None and not self.stopping:
                if not self._is_first(review):
                    return
                await self._start_if_still(review, status, topic)

    async def _verdict(self, review: DeadLetterReview, status: DeadLetterReviewStatus) -> Verdict:
        selection = status.selection
        admission = await self._parts.admission()
        return verdict_of(
            review, self.judge.entry(), admission, selection.digest if selection else None
        )

    async def _start_if_still(
        self, review: DeadLetterReview, status: DeadLetterReviewStatus, topic: DeadLetterTopic
    ) -> None:
        """Start a review once the index has all letters, unless something changed meanwhile."""
        feeder = self._feeding
        if (fault := await lag_of(feeder, LOOK_SECONDS)) is not None:
            raise fault
        current = self._parts.cache.reviews.get(review.ref)
        if current is None or not is_same(current, review):
            self._wake.set()
            return
        verdict = await self._verdict(current, status)
        if verdict.decision is Decision.RUN:
            await self._start(current, status, verdict, topic, feeder)
        else:
            self._wake.set()

    def _is_first(self, review: DeadLetterReview) -> bool:
        """Return whether no other review of the policy was begun by an earlier process."""
        begun = [
            each.metadata.uid
            for each in self._parts.cache.of(self.policy)
            if self._statuses.of(each).phase is ReviewPhase.RUNNING
        ]
        return not begun or review.metadata.uid in begun

    async def _select(
        self, review: DeadLetterReview, status: DeadLetterReviewStatus, feeder: Feeder
    ) -> DeadLetterReviewStatus:
        self._parts.require()
        at = self._now().replace(microsecond=0)
        selection = await self._selector.select(review, at, feeder)
        number = await self._parts.audit.append(
            decisions.Requested(
                about(review, review.metadata.uid),
                review.spec.reason,
                selection.count,
                selection.digest,
            )
        )
        message = f"{selection.count} letters are selected"
        status = moved(
            review,
            status,
            Place(ReviewPhase.PENDING, "Selected", message),
            self._now(),
            selection=selection,
            audit_entry=number,
        )
        await self._statuses.put(review, status)
        await self._parts.recorder.post(review, "Selected", message)
        return status

    async def _start(
        self,
        review: DeadLetterReview,
        status: DeadLetterReviewStatus,
        verdict: Verdict,
        topic: DeadLetterTopic,
        feeder: Feeder,
    ) -> None:
        self._parts.require()
        assert status.selection is not None
        resumed = status.phase is ReviewPhase.RUNNING
        uncertain = is_abandoned(status)
        named = about(review, review.metadata.uid)
        if not resumed:
            # letters that the index has lost since then do not count as approved
            selection = await self._selector.again(review, status.selection.at, feeder)
            approval = review.spec.approval
            if approval and approval.selection and approval.selection != selection.digest:
                await self._endings.refuse(
                    review,
                    status,
                    "SelectionChanged",
                    f"{approval.approved_by} approved other letters than the review selects now; "
                    "create a new DeadLetterReview",
                )
                return
            status = status.model_copy(update={"selection": selection})
        assert status.selection is not None
        # the entries come after whatever else can fail, so that each look does not add them again
        if not await self._parts.finalizers.add(review) or not await is_unchanged(
            self._parts, review
        ):
            return
        if not resumed and review.spec.approval is not None:
            await self._parts.audit.append(
                decisions.Approved(named, review.spec.approval.selection)
            )
            await self._parts.recorder.post(review, "Approved", verdict.message)
        number = await self._parts.audit.append(
            decisions.Started(named, status.selection.count, status.selection.digest, resumed)
        )
        place = Place(ReviewPhase.RUNNING, "Running", "the review is carried out")
        status = moved(review, status, place, self._now(), audit_entry=number)
        if not await begin(self._parts, self._statuses, review, status):
            self._wake.set()
            return
        await self._parts.recorder.post(review, "Resumed" if resumed else "Started", place.message)
        selected = status.selection
        assert selected is not None
        job = Job(
            review,
            review.metadata.uid,
            created_at(review),
            selected,
            uncertain,
            self._selector.ends(review, feeder),
        )
        self._current = review
        self._running = asyncio.create_task(self._run(job, status, topic), name=f"{review.ref}")

    async def _run(self, job: Job, status: DeadLetterReviewStatus, topic: DeadLetterTopic) -> None:
        review = job.review
        desk = self._desk(review, status)
        runner = self._runner(job, desk, topic)
        try:
            try:
                completed = await runner.run()
            except SelectionChangedError as error:
                await runner.abandon()
                status = advanced(desk.status, runner.progress)
                await self._endings.refuse(review, status, "SelectionChanged", str(error))
                return
            if not completed and not self.stopping:
                await runner.abandon()
            if not self.stopping:
                await asyncio.to_thread(self._parts.index.holds.release, self.policy)
            status = advanced(desk.status, runner.progress)
            if completed:
                await self._endings.complete(job, status, runner.progress)
                return
            if not runner.uncertain:
                place = Place(ReviewPhase.RUNNING, STOPPED, "the worker ends, and goes on later")
                status = moved(review, status, place, self._now())
            if self.stopping:
                await self._statuses.put(review, status)
            else:
                self._statuses.keep(review, status)  # the next look ends it
        finally:
            self._wake.set()

    async def _abandon(
        self, review: DeadLetterReview, status: DeadLetterReviewStatus, topic: DeadLetterTopic
    ) -> DeadLetterReviewStatus:
        """Report what an earlier process perhaps delivered, of a review that ends now."""
        selected = status.selection
        if not is_abandoned(status) or selected is None:
            return status
        self._parts.require()
        job = Job(review, review.metadata.uid, created_at(review), selected, uncertain=True)
        desk = self._desk(review, status)
        runner = self._runner(job, desk, topic)
        await runner.abandon()
        place = Place(ReviewPhase.RUNNING, STOPPED, "the review ends")
        status = moved(review, advanced(desk.status, runner.progress), place, self._now())
        self._statuses.keep(review, status)
        return status

    @property
    def _feeding(self) -> Feeder:
        assert self.feeder is not None
        return self.feeder

    def _desk(self, review: DeadLetterReview, status: DeadLetterReviewStatus) -> RunDesk:
        return RunDesk(
            review,
            status,
            self._parts.cache,
            self,
            require=self._parts.require,
            now=self._parts.now,
            offer=self._statuses.offer,
            put=self._statuses.put,
        )

    def _runner(self, job: Job, desk: RunDesk, topic: DeadLetterTopic) -> Runner:
        return self._equipment.runner(job, desk, topic, self, self._feeding)

    def _now(self) -> datetime:
        return self._parts.now()

    async def _report(self) -> None:
        """Write the numbers of the policy's letters to its status."""
        while True:
            if self.ready:
                await offer_counts(self._parts, self.policy)
            # the first numbers come as soon as the index has all letters
            await asyncio.sleep(LOOK_SECONDS / 2 if self.ready else 0.2)
