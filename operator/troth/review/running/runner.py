"""Carries out one review: each of its letters once, in their order, in batches.

For each batch, the runner delivers, then writes the audit log, then the record on the dead-letter
topic. A crash in between repeats the batch with the same redrive IDs, and the status counts its
letters as repeated. The letters of a review are those that were open when it was selected. The
runner writes them down when it begins, and touches no other. After a restart it reads them again,
and counts those that the review settled already; if it finds others, the review ends.
"""

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC
from functools import partial
from itertools import islice
from typing import TypeVar

from troth.edge.events.rejection import RejectedError
from troth.edge.identity.snapshot import IdentityError
from troth.resources.reviews.dead_letter_review import ReviewAction
from troth.resources.reviews.dead_letter_review_status import LetterOutcome
from troth.review.brokers import BrokerUnavailableError, TooLargeError
from troth.review.index.portion import Portion, settlements_of
from troth.review.letters.judgement import GONE, LIMIT_REACHED, SETTLED_BEFORE
from troth.review.letters.letter import Letter, LetterState
from troth.review.letters.records import STATES, Record
from troth.review.running.courier import outcome
from troth.review.running.deliveries import UNCERTAIN, Deliveries
from troth.review.running.job import Desk, Job, SelectionChangedError, Tools, wait
from troth.review.running.pace import MOST_BYTES_TOGETHER, MOST_TOGETHER, together
from troth.review.running.progress import Outcome, Progress
from troth.review.selection import letters_of
from troth.review.trail.decisions import Settled, SettledLetter

_BY_STATE = {state: settled for settled, state in STATES.items()}
_SIMPLE = {
    ReviewAction.DISCARD: LetterOutcome.DISCARDED,
    ReviewAction.QUARANTINE: LetterOutcome.QUARANTINED,
}


T = TypeVar("T")


class _RecordTooLargeError(Exception):
    """The broker does not accept a record of so many letters."""


class Runner:
    """Carries out one review."""

    def __init__(self, job: Job, tools: Tools, desk: Desk, progress: Progress) -> None:
        self._job = job
        self._tools = tools
        self._desk = desk
        self.progress = progress
        self._spec = job.review.spec
        self._size = (
            together(self._spec.rate)
            if self._spec.action is ReviewAction.REDRIVE
            else MOST_TOGETHER
        )
        self._deliveries = Deliveries(
            job, tools, desk, progress, settle=self._settle, size=self._size
        )
        self._walked = 0

    @property
    def uncertain(self) -> bool:
        """Whether an earlier process perhaps delivered letters that come later."""
        return self._deliveries.left_to_repeat > 0

    async def run(self) -> bool:
        """Carry the review out; return whether it is completed, False if it was stopped.

        Raises `SelectionChangedError`, and what `Desk.require` raises.
        """
        held = await self._while_whole(self._hold)
        if held is None:
            return False
        if not held:
            raise SelectionChangedError(
                "the review selects other letters than those that were approved, because letters "
                "have expired or arrived; create a new DeadLetterReview"
            )
        while not self._desk.stopped():
            self._desk.require()
            batch = await self._while_whole(partial(self._next, self._walked))
            if batch is None:
                return False
            if not batch:
                self._count_lost()
                self._desk.advanced(self.progress)
                return True
            self._walked += len(batch)
            if not await self._carry_out(batch):
                return False
            self._desk.advanced(self.progress)
        return False

    async def _while_whole(self, read: Callable[[], T]) -> T | None:
        """Return what a function reads from an index that lacks nothing, None if stopped.

        The index begins again if the topic is another one. What is read meanwhile would be wrong.
        """
        following, failures = self._tools.following, 0
        if following is None:
            return await asyncio.to_thread(read)
        while not self._desk.stopped():
            self._desk.require()
            rebuilds, whole = following.rebuilds, following.whole
            if whole:
                found = await asyncio.to_thread(read)
                if following.whole and following.rebuilds == rebuilds:
                    return found
            failures += 1
            self._desk.waits("IndexIncomplete", "the index of letters is read from the topic again")
            await self._desk.pause(failures)
        return None

    def _hold(self) -> bool:
        """Write down the letters of the review; return whether they are those of its selection."""
        job, holds = self._job, self._tools.index.holds
        policy, digest = job.review.policy, job.selection.digest
        if holds.digest(policy, job.uid) == digest:
            return True
        letters = letters_of(
            self._tools.index,
            job.review,
            uid=job.uid,
            created=job.created,
            at=job.selection.at,
            ends=job.ends,
        )
        if holds.take(policy, job.uid, letters) == digest:
            return True
        holds.release(policy)
        return False

    def _next(self, walked: int) -> list[Letter]:
        """Return the letters of the next batch: those that are open, and settled ones between."""
        found = self._tools.index.holds.letters(self._job.review.policy, self._job.uid, walked)
        batch: list[Letter] = []
        count = size = 0
        for letter in islice(found, MOST_TOGETHER):
            if self._is_open(letter):
                size += letter.size
                if count == self._size or (count and size > MOST_BYTES_TOGETHER):
                    break
                count += 1
            batch.append(letter)
        return batch

    def _is_open(self, letter: Letter) -> bool:
        return letter.state is LetterState.PENDING or (
            letter.state is LetterState.QUARANTINED
            and self._spec.select.ids is not None
            and letter.review_uid != self._job.uid
        )

    async def _carry_out(self, batch: Sequence[Letter]) -> bool:
        """Settle a batch; return whether the review may go on."""
        waiting = [each for each in batch if self._is_open(each)]
        self._add_known(batch)
        simple = _SIMPLE.get(self._spec.action)
        if simple is not None:
            await self._settle([outcome(each, simple) for each in waiting])
            return True
        return await self._deliveries.redrive(waiting)

    def _add_known(self, batch: Sequence[Letter]) -> None:
        known = [self._known(each) for each in batch if not self._is_open(each)]
        self.progress.repeated += sum(each.reason == UNCERTAIN for each in known)
        self.progress.add(known)

    def _known(self, letter: Letter) -> Outcome:
        """Return the outcome of a letter that is not open any more."""
        if letter.state is LetterState.GONE and self.uncertain:
            return outcome(letter, LetterOutcome.FAILED, UNCERTAIN)
        if letter.state is LetterState.GONE:
            return outcome(letter, LetterOutcome.SKIPPED, GONE)
        if letter.review_uid != self._job.uid:
            return outcome(letter, LetterOutcome.SKIPPED, SETTLED_BEFORE)
        what = _BY_STATE[letter.state]
        limited = what is LetterOutcome.QUARANTINED and self._spec.action is ReviewAction.REDRIVE
        return outcome(letter, what, LIMIT_REACHED if limited else None)

    async def abandon(self) -> None:
        """Report what an earlier process perhaps delivered, of a review that does not go on.

        The letters keep their state. Letters that nobody can judge any more count as delivered.
        Raises what `Desk.require` raises.
        """
        await self._deliveries.report(self._deliveries.unjudged)
        self._deliveries.unjudged = ()
        held = await asyncio.to_thread(self._hold)
        while held and (batch := await asyncio.to_thread(self._next, self._walked)):
            self._desk.require()
            self._walked += len(batch)
            self._add_known(batch)
            await self._deliveries.report([each for each in batch if self._is_open(each)])
        self._count_lost()

    def _count_lost(self) -> None:
        """Count the letters that an earlier process perhaps delivered and the index lacks."""
        lost = min(self._deliveries.left_to_repeat, self._job.selection.count - self._walked)
        self.progress.repeated += max(0, lost)
        self._deliveries.left_to_repeat = 0

    async def _settle(self, outcomes: Sequence[Outcome]) -> None:
        """Write the audit log, then the record."""
        if not outcomes:
            return
        letters = tuple(
            SettledLetter(each.id, each.digest, each.outcome, each.reason) for each in outcomes
        )
        await self._tools.audit.append(Settled(self._job.about, letters))
        settling = [each for each in outcomes if each.outcome in STATES]
        if settling:
            await self._record(settling)
        self.progress.add(outcomes)

    async def _record(self, outcomes: Sequence[Outcome]) -> None:
        """Publish a record, or several if it is too large for the broker."""
        try:
            await self._publish(outcomes)
        except _RecordTooLargeError:
            half = len(outcomes) // 2
            await self._record(outcomes[:half])
            await self._record(outcomes[half:])

    async def _publish(self, outcomes: Sequence[Outcome]) -> None:
        """Publish one record, and try again for as long as this process may act.

        A stopped review records too what was delivered already. Raises `_RecordTooLargeError` if
        the record can be halved.
        """
        ref = self._job.review.ref
        # never before the selection, whatever the clock does: a restart reads what came after
        at = max(self._desk.now(), self._job.selection.at).astimezone(UTC).replace(microsecond=0)
        record = Record(ref, self._job.uid, tuple(each.recorded() for each in outcomes), at)
        failures = 0
        while True:
            self._desk.require()
            try:
                await self._tools.topic.record(self._tools.records.seal(record))
                break
            except (TooLargeError, ValueError) as error:  # ValueError: larger than a reader accepts
                if len(outcomes) > 1:
                    raise _RecordTooLargeError from error
                fault: Exception = TooLargeError(
                    f"the record of letter {outcomes[0].id} is too large for the dead-letter "
                    "topic; raise the topic's maximum message size"
                )
            except (BrokerUnavailableError, RejectedError, IdentityError) as error:
                fault = error
            failures += 1
            await wait(self._desk, fault, failures)
        await asyncio.to_thread(self._note, record)

    def _note(self, record: Record) -> None:
        """Settle the letters in the index, which reads the record itself only later."""
        portion = Portion(settlements=settlements_of(record))
        self._tools.index.feed(self._job.review.policy, portion)
