"""Redriving dead letters beside a bare copy between topics, with one client and one batch size.

The copy reads the same dead letters with the same consumer, and publishes their data and headers
with the same producer. A redrive also verifies the letter and its original, seals the redrive,
writes the record and settles the letter in the index.
"""

import asyncio
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

from benchmarks.events.trade import POLICY, TOPIC
from benchmarks.harness.cores import cores, on
from benchmarks.harness.report import Comparison, Report
from benchmarks.harness.turns import Turn, compare
from benchmarks.reviews.index import Desk
from benchmarks.reviews.nats import NatsDesk, stream_of
from sandbox.brokers.kafka import KafkaServer
from sandbox.brokers.kafka_topics import make_topics
from sandbox.brokers.nats import NatsServer
from sandbox.brokers.nats_streams import make_streams
from troth.edge.events.redriving import RedriveSealer
from troth.resources.references import Ref
from troth.resources.reviews.dead_letter_review import DeadLetterReview
from troth.review.brokers import DeadLetterTopic, Redelivery, Stored
from troth.review.index.store import LetterIndex
from troth.review.letters.judgement import Judge
from troth.review.letters.letter import Letter, Position
from troth.review.letters.reading import LetterReader
from troth.review.letters.records import Records
from troth.review.running.courier import Courier
from troth.review.running.job import Job, Tools
from troth.review.running.pace import MOST_TOGETHER, TokenBucket
from troth.review.running.progress import Progress
from troth.review.running.runner import Runner
from troth.review.selection import selection_of
from troth.review.trail.decisions import Decision

LETTERS, ROUNDS = 5_000, 3
MOST = 2.0
"""Maximum ratio of the time of a redrive to that of a copy."""
DEAD, COPY = "bench.redrive.dlq", "bench.redrive.copy"
_REF = Ref(*POLICY.split("/"))


def reports() -> Iterator[Report]:
    """Measure in this process, with a Kafka server on the other core."""
    own, other = cores()
    with (
        tempfile.TemporaryDirectory() as directory,
        on(other),
        KafkaServer.start() as server,
        on(own),
    ):
        make_topics(server, [DEAD, TOPIC, COPY])
        bench = _Bench(Desk(Path(directory), server), Path(directory))
        row = compare(f"redrive {LETTERS:,} letters", ROUNDS, bench.prepare, MOST)
    yield _report("Kafka", row)
    with (
        tempfile.TemporaryDirectory() as directory,
        on(other),
        NatsServer.serving() as nats,
        on(own),
    ):
        asyncio.run(make_streams(nats, {stream_of(each): each for each in (DEAD, TOPIC, COPY)}, {}))
        bench = _Bench(NatsDesk(Path(directory), nats), Path(directory))
        row = compare(f"redrive {LETTERS:,} letters", ROUNDS, bench.prepare, MOST)
    yield _report("NATS", row)


def _report(broker: str, row: Comparison) -> Report:
    note = (
        f"Both read {LETTERS:,} dead letters of 1 KiB from {broker} and publish them in batches of "
        f"{MOST_TOGETHER}, with one client each. The floor copies them and does nothing else."
    )
    return Report(f"Redrive of dead letters from {broker}", [row], note, [])


class _Bench:
    def __init__(self, desk: Desk, directory: Path) -> None:
        self._desk, self._directory = desk, directory
        self._runs = count(1)
        desk.fill(DEAD, LETTERS)

    def prepare(self) -> tuple[Turn, Turn]:
        return lambda: [asyncio.run(self._redrive())], lambda: [asyncio.run(self._copy())]

    async def _copy(self) -> float:
        source, sink = self._desk.topic(DEAD), self._desk.topic(COPY)
        began, copied, end = time.perf_counter(), 0, self._desk.first + LETTERS
        batches = source.read({})
        async for batch in batches:
            letters = [each for each in batch if each.position.offset < end]
            for begin in range(0, len(letters), MOST_TOGETHER):
                part = letters[begin : begin + MOST_TOGETHER]
                results = await sink.redeliver([_copied(each) for each in part])
                assert not any(results)
            copied += len(letters)
            if copied >= LETTERS:
                break
        taken = time.perf_counter() - began
        await batches.aclose()  # type: ignore[attr-defined]
        await source.close()
        await sink.close()
        return taken

    async def _redrive(self) -> float:
        number = next(self._runs)
        topic, identity = self._desk.topic(DEAD), self._desk.reviewer(DEAD)
        index = LetterIndex(self._directory / f"redrive-{number}.db")
        reader = LetterReader(identity, POLICY)
        await _fill(topic, index, reader, self._desk.first + LETTERS)
        review = _review(number)
        created = datetime.now(UTC)
        selection = selection_of(index, review, created.replace(microsecond=0))
        assert selection.count == LETTERS
        sealer, judge = RedriveSealer(identity, POLICY), Judge(identity, POLICY)
        tools = Tools(
            topic,
            index,
            Courier(topic, _OneByOne(topic), reader, judge, sealer),
            Records(identity, POLICY),
            _Audit(),
            TokenBucket(review.spec.rate),
        )
        job = Job(review, review.metadata.uid, created, selection)
        progress = Progress()
        began = time.perf_counter()
        assert await Runner(job, tools, _Desk(), progress).run()
        taken = time.perf_counter() - began
        assert progress.numbers()["redriven"] == LETTERS
        await topic.close()
        index.close()
        return taken


async def _fill(topic: DeadLetterTopic, index: LetterIndex, reader: LetterReader, end: int) -> None:
    """Index the letters, without the records of earlier rounds."""
    found: list[Letter] = []
    batches = topic.read({})
    async for batch in batches:
        read = [reader.read(each) for each in batch if each.position.offset < end]
        found += [each for each in read if isinstance(each, Letter)]
        if len(found) == LETTERS:
            break
    await batches.aclose()  # type: ignore[attr-defined]
    index.put(found)


def _copied(stored: Stored) -> Redelivery:
    message = stored.message
    return Redelivery("", COPY, message.headers, message.data or b"", stored.key)


def _review(number: int) -> DeadLetterReview:
    created = (datetime.now(UTC) + timedelta(seconds=1)).isoformat(timespec="seconds")
    return DeadLetterReview.model_validate(
        {
            "metadata": {
                "name": f"bench-{number}",
                "namespace": _REF.namespace,
                "uid": f"uid-{number}",
                "creationTimestamp": created,
            },
            "spec": {
                "policy": {"name": _REF.name},
                "action": "Redrive",
                "reason": "a benchmark",
                "rate": "99999/s",
                "requestedBy": "alice",
                "select": {"limit": LETTERS},
            },
        }
    )


class _OneByOne:
    def __init__(self, topic: DeadLetterTopic) -> None:
        self._topic = topic

    async def fetch(self, letters: Sequence[Letter]) -> Mapping[Position, Stored]:
        found = [await self._topic.get(each.position) for each in letters]
        return {each.position: each for each in found if each is not None}


class _Audit:
    fault: str | None = None

    async def append(self, entry: Decision) -> int:
        assert entry
        return 1


class _Desk:
    def stopped(self) -> bool:
        return False

    def require(self) -> None:
        """This process may always act."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    async def pause(self, failures: int) -> None:
        await asyncio.sleep(failures)

    def waits(self, reason: str, message: str) -> None:
        raise AssertionError(reason, message)

    def advanced(self, progress: Progress) -> None:
        """Nobody watches."""

    async def announce(self, progress: Progress) -> None:
        """Nothing is resumed."""
