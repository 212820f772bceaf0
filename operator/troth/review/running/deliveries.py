"""Deliveries of one review: each message until it is stored, or failed for good.

A crash between a delivery and its record repeats the delivery with the same redrive ID, so the
letters that the process before perhaps delivered are counted, and never called skipped.
"""

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field, replace

from troth.edge.events.rejection import RejectedError
from troth.edge.identity.snapshot import IdentityError
from troth.resources.reviews.dead_letter_review import ReviewAction
from troth.resources.reviews.dead_letter_review_status import LetterOutcome
from troth.review.brokers import BrokerUnavailableError
from troth.review.letters.letter import Letter
from troth.review.running.courier import TOO_LARGE, Authority, Delivered, Prepared, outcome
from troth.review.running.job import Desk, Job, NotAuditedError, Tools, wait
from troth.review.running.progress import Outcome, Progress

UNCERTAIN = "DeliveryUncertain"
"""Reason of a letter whose delivery failed without the broker saying that it has not stored it."""
OLDEST = 60.0
"""Maximum age of a sealed redrive in seconds when it is delivered. Consumers accept 300 s."""


@dataclass(slots=True)
class _Batch:
    """What is known of the letters of a batch while it is delivered, by their IDs."""

    judged: bool = False
    resumed: bool = False
    """Whether an earlier process perhaps delivered some of them."""
    window: set[str] = field(default_factory=set)
    """Letters that count as delivered by the earlier process."""
    uncertain: set[str] = field(default_factory=set)
    """Letters that any process perhaps delivered."""
    counted: set[str] = field(default_factory=set)
    """Letters that count as perhaps repeated."""


class Deliveries:
    """Delivers the letters of one review."""

    def __init__(
        self,
        job: Job,
        tools: Tools,
        desk: Desk,
        progress: Progress,
        *,
        settle: Callable[[Sequence[Outcome]], Awaitable[None]],
        size: int,
    ) -> None:
        """`settle` takes in what became of letters. A batch has at most `size` letters."""
        spec = job.review.spec
        self._tools = tools
        self._desk = desk
        self._progress = progress
        self._settle = settle
        delivers = spec.action is ReviewAction.REDRIVE
        self.left_to_repeat = size if job.uncertain and delivers else 0
        """Deliveries from now on that an earlier process may have made already."""
        self.unjudged: Sequence[Letter] = ()
        """Open letters of the batch in which the review was stopped, if nobody judged them."""
        self._authority = Authority(
            job.review.ref,
            job.uid,
            spec.requested_by,
            spec.approval.approved_by if spec.approval else None,
        )

    async def redrive(self, letters: Sequence[Letter]) -> bool:
        """Deliver until each message is stored or failed for good, and settle those.

        The letters are judged and their redrives sealed again for each attempt: consumers accept a
        redrive only for some minutes, and a grant may end while the review waits.
        """
        left = list(letters)
        batch = _Batch()
        failures = 0
        await self._tools.bucket.take(len(left), self._is_over)
        while left:
            if self._desk.stopped():
                return await self._give_up(left, batch)
            self._desk.require()
            try:
                done = await self._attempt(left, batch)
            except (
                BrokerUnavailableError,
                RejectedError,
                IdentityError,
                NotAuditedError,
            ) as fault:
                failures += 1
                await wait(self._desk, fault, failures)
                continue
            left = [each.letter for each in done.left]
            if done.fault is not None:
                failures += 1
                await wait(self._desk, done.fault, failures)
        return True

    def _is_over(self) -> bool:
        self._desk.require()
        return self._desk.stopped()

    async def _attempt(self, letters: Sequence[Letter], batch: _Batch) -> Delivered:
        """Judge letters and deliver those that can be redriven, once; settle what has an outcome.

        Raises `NotAuditedError` while the audit log cannot be written.
        """
        while True:
            if (fault := self._tools.audit.fault) is not None:
                raise NotAuditedError(fault)
            prepared = await self._tools.courier.prepare(letters, self._authority)
            sealed = self._tools.monotonic()
            self._tools.bucket.give_back(len(prepared.outcomes))
            await self._count(prepared, batch)
            await self._settle([self._judged(each, batch) for each in prepared.outcomes])
            letters = [each.letter for each in prepared.parcels]
            if self._tools.audit.fault is None and self._tools.monotonic() - sealed < OLDEST:
                break
        done = await self._tools.courier.deliver(prepared.parcels)
        batch.uncertain.update(done.uncertain)
        self._uncount(done, batch)
        await self._settle(done.outcomes)
        return done

    async def _count(self, prepared: Prepared, batch: _Batch) -> None:
        """Count letters as perhaps repeated, each once, and write that before it happens."""
        ids = [each.letter.id for each in prepared.parcels]
        if not batch.judged:
            batch.judged = True
            batch.resumed = self.left_to_repeat > 0
            batch.window.update(ids[: self.left_to_repeat])
            batch.uncertain |= batch.window
            self.left_to_repeat -= len(batch.window)
        perhaps = {each.id for each in prepared.outcomes} if batch.resumed else set()
        await self._count_repeated(perhaps | batch.uncertain.intersection(ids), batch)

    def _judged(self, found: Outcome, batch: _Batch) -> Outcome:
        """Return the outcome of a letter that cannot be redriven, unless it perhaps was."""
        if batch.resumed or found.id in batch.uncertain:
            return replace(found, outcome=LetterOutcome.FAILED, reason=UNCERTAIN)
        return found

    def _uncount(self, done: Delivered, batch: _Batch) -> None:
        """Let other letters be those that an earlier process delivered.

        The broker does not accept a message that is too large, so it had not stored it before.
        """
        too_large = {each.id for each in done.outcomes if each.reason == TOO_LARGE} & batch.window
        batch.window -= too_large
        self.left_to_repeat += len(too_large)
        self._progress.repeated -= len(too_large)

    async def _count_repeated(self, ids: Collection[str], batch: _Batch) -> None:
        new = set(ids) - batch.counted
        if new:
            batch.counted |= new
            self._progress.repeated += len(new)
            await self._desk.announce(self._progress)

    async def _give_up(self, letters: Sequence[Letter], batch: _Batch) -> bool:
        """Report the letters of a stopped review that the broker has perhaps stored."""
        if not batch.judged:
            self.unjudged = letters
        some = [each for each in letters if each.id in batch.uncertain]
        await self._count_repeated({each.id for each in some}, batch)
        await self._settle([outcome(each, LetterOutcome.FAILED, UNCERTAIN) for each in some])
        return False

    async def report(self, letters: Sequence[Letter]) -> None:
        """Report the letters that the earlier process perhaps delivered, and that stay as they are.

        Letters that nobody can judge any more count as delivered.
        """
        if not letters or not self.left_to_repeat:
            return
        try:
            prepared = await self._tools.courier.prepare(letters, self._authority)
            obstructed = {each.id for each in prepared.outcomes}
        except (BrokerUnavailableError, RejectedError, IdentityError):
            obstructed = set()
        some = []
        for each in letters:
            if not self.left_to_repeat:
                break
            # the earlier process perhaps had no obstacle
            some.append(outcome(each, LetterOutcome.FAILED, UNCERTAIN))
            self.left_to_repeat -= each.id not in obstructed
        self._progress.repeated += len(some)
        await self._settle(some)
