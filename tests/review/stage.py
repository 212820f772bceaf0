"""One review at a broker in memory. What survives a process is in the broker and in `written`."""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.edge.events.trade import NOW, ORDER
from tests.review.broker import Broker, Death
from tests.review.desk import Desk, as_delivered
from troth.edge.events.redriving import RedriveSealer
from troth.edge.events.rejection import Rejection
from troth.resources.references import Ref
from troth.resources.reviews.dead_letter_review import DeadLetterReview
from troth.resources.reviews.dead_letter_review_status import SelectionStatus
from troth.review.brokers import Stored
from troth.review.index.portion import Portion, settlements_of
from troth.review.index.store import LetterIndex
from troth.review.letters.digest import digest_of_selection
from troth.review.letters.judgement import Judge
from troth.review.letters.letter import Letter, LetterState
from troth.review.letters.reading import LetterReader
from troth.review.letters.records import Record, Records
from troth.review.ports import Following
from troth.review.running.courier import Courier
from troth.review.running.job import Job, Tools
from troth.review.running.pace import TokenBucket
from troth.review.running.progress import Progress
from troth.review.running.runner import Runner
from troth.review.trail.decisions import Decision, Settled

Known = dict[int, tuple[Stored, Letter | Record | Rejection]]
"""What messages are, by their `id`, with the messages, which keep it."""
POLICY = Ref("shop", "orders")
ALL = tuple(LetterState)
CREATED = datetime.fromtimestamp(NOW, UTC) + timedelta(seconds=60)


def review(name: str = "orders-fix", **spec: Any) -> DeadLetterReview:
    """A review by alice, which bob approved."""
    return DeadLetterReview.model_validate(
        {
            "metadata": {"name": name, "namespace": "shop"},
            "spec": {
                "policy": {"name": "orders"},
                "action": "Redrive",
                "reason": "the consumer is fixed in 1.4.2",
                "rate": "1000/s",
                "requestedBy": "alice",
                "approval": {"approvedBy": "bob"},
            }
            | spec,
        }
    )


@dataclass
class Audit:
    """The audit log."""

    death: Death
    entries: list[Decision] = field(default_factory=list)
    fault: str | None = None

    async def append(self, entry: Decision) -> int:
        self.death.step("before the audit entry")
        self.entries.append(entry)
        self.death.step("after the audit entry")
        return len(self.entries)

    def settled(self) -> Counter[tuple[str, str]]:
        """Letters by ID and outcome."""
        return Counter(
            (letter.id, letter.outcome)
            for each in self.entries
            if isinstance(each, Settled)
            for letter in each.letters
        )


@dataclass
class RunnerDesk:
    """What a runner is told."""

    death: Death
    written: list[dict[str, int]]
    stop: Callable[[], bool] = lambda: False
    waited: list[tuple[str, str]] = field(default_factory=list)
    on_advance: Callable[[], None] = lambda: None
    on_pause: Callable[[], None] = lambda: None
    clock: Callable[[], datetime] = lambda: CREATED + timedelta(seconds=5)

    def stopped(self) -> bool:
        return self.stop()

    def require(self) -> None:
        """This process may always act."""

    def now(self) -> datetime:
        return self.clock()

    async def pause(self, failures: int) -> None:
        assert failures
        self.on_pause()
        await asyncio.sleep(0)

    def waits(self, reason: str, message: str) -> None:
        self.waited.append((reason, message))

    def advanced(self, progress: Progress) -> None:
        assert progress.total
        self.on_advance()

    async def announce(self, progress: Progress) -> None:
        self.death.step("before the status")
        self.written.append(dict(progress.numbers()))
        self.death.step("after the status")


class Stage:
    """A policy with dead letters, and the processes that review them one after the other."""

    def __init__(self, path: Path) -> None:
        self._begin(Desk(path / "files"), LetterIndex(path / "index.db"), Broker())

    def _begin(self, desk: Desk, index: LetterIndex, broker: Broker) -> None:
        self.desk, self.index, self.broker = desk, index, broker
        self.audit = Audit(broker.death)
        self.written: list[dict[str, int]] = []
        self.elapsed = 0.0
        self._known: Known | None = None

    def uptime(self) -> float:
        return self.elapsed

    async def sleep(self, seconds: float) -> None:
        """Let time pass at once."""
        self.elapsed += seconds

    def copy(self) -> "Stage":
        """Return the same stage before any review, at a broker of its own.

        The copies verify each message once. The desk's files must not change between them.
        """
        made = Stage.__new__(Stage)
        broker = Broker(list(self.broker.letters), most_bytes=self.broker.most_bytes)
        made._begin(self.desk, self.index, broker)
        if self._known is None:
            self._known = {}
        made._known = self._known
        made.reborn()
        return made

    def fail(self, count: int, data: bytes = ORDER, **options: Any) -> list[str]:
        """Let messages fail at their consumer; return the IDs of their letters."""
        made = []
        for _ in range(count):
            offset = len(self.broker.letters)
            message = as_delivered(self.desk.seal(data, **options), offset, stored_at=NOW)
            sealed = self.desk.bury(message)
            self.broker.bury(sealed, b"key")
            made.append(sealed.attributes["id"])
        return made

    @property
    def reader(self) -> LetterReader:
        return LetterReader(
            self.desk.identity(self.desk.reviewer), str(POLICY), clock=self.desk.clock
        )

    def reborn(self) -> None:
        """Lose the index, and read the topic again."""
        self.index.forget(POLICY)
        self.feed()

    def feed(self) -> None:
        """Bring the index up to date: read the whole topic."""
        reader = self.reader
        for stored in self.broker.letters:
            if stored is None:
                continue
            match self._read(reader, stored):
                case Letter() as letter:
                    self.index.put([letter])
                case Record() as record:
                    self.index.feed(POLICY, Portion(settlements=settlements_of(record)))
                case rejection:
                    raise AssertionError(rejection)

    def _read(self, reader: LetterReader, stored: Stored) -> Letter | Record | Rejection:
        if self._known is None:
            return reader.read(stored)
        if id(stored) not in self._known:
            self._known[id(stored)] = stored, reader.read(stored)
        return self._known[id(stored)][1]

    def job(self, made: DeadLetterReview, *, uncertain: bool = False, seconds: float = 1) -> Job:
        """Select the letters of a review, some seconds after it was created."""
        uid = f"uid-of-{made.ref.name}"
        selection = self.selection(made, uid, seconds)
        return Job(made, uid, CREATED, selection, uncertain)

    def selection(self, made: DeadLetterReview, uid: str, seconds: float = 60) -> SelectionStatus:
        """Return what a review with a UID selects."""
        at = CREATED + timedelta(seconds=seconds)
        found = list(
            self.index.selected(POLICY, made.spec.select, made.until(CREATED), at=at, uid=uid)
        )
        digest = digest_of_selection((each.id, each.digest) for each in found)
        return SelectionStatus(count=len(found), digest=digest, at=at)

    def runner(
        self, job: Job, desk: RunnerDesk | None = None, following: Following | None = None
    ) -> Runner:
        """Return a runner of a new process."""
        identity = self.desk.identity(self.desk.reviewer)
        clock = self.desk.clock
        judge = Judge(identity, str(POLICY), clock=clock)
        sealer = RedriveSealer(identity, str(POLICY), clock=clock)
        tools = Tools(
            topic=self.broker,
            index=self.index,
            courier=Courier(self.broker, self.broker, self.reader, judge, sealer),
            records=Records(identity, str(POLICY), clock=clock),
            audit=self.audit,
            bucket=TokenBucket(job.review.spec.rate, monotonic=self.uptime, sleep=self.sleep),
            monotonic=self.uptime,
            following=following,
        )
        progress = Progress(self.written[-1]["repeated"] if self.written else 0)
        return Runner(job, tools, desk or self.runner_desk(), progress)

    def runner_desk(self, **options: Any) -> RunnerDesk:
        return RunnerDesk(self.broker.death, self.written, **options)

    def states(self) -> dict[str, str]:
        """States of the letters as the topic alone has them."""
        self.reborn()
        found = self.index.select(POLICY, review().spec.select, None, states=ALL)
        return {each.id: each.state.value for each in found}
