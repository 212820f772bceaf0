"""The index of dead letters: its memory with a million letters, and its cost beside verification.

The floor reads the same letters from the same Kafka and verifies them, and keeps nothing.
"""

import asyncio
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from confluent_kafka import Producer

from benchmarks.events.trade import GROUP, POLICY, TOPIC, Trade, mount, order, seal
from benchmarks.harness.cores import cores, on, resident
from benchmarks.harness.domain import Domain
from benchmarks.harness.report import Comparison, Figure, Report
from benchmarks.harness.turns import Turn, compare
from sandbox.brokers.kafka import KafkaServer
from sandbox.brokers.kafka_topics import make_topics
from troth.edge.events.bindings import kafka
from troth.edge.events.consumption.dead_letters import DeadLetters
from troth.edge.events.message import Sealed
from troth.edge.events.rejection import Reason, Rejection
from troth.edge.identity.files import Identity
from troth.pki.encodings import base64url
from troth.pki.keys.private import load_private_key
from troth.resources.references import Ref
from troth.resources.reviews.dead_letter_review import Letters
from troth.review.brokers import DeadLetterTopic
from troth.review.index.feeder import Feeder
from troth.review.index.portion import Portion, Settlement
from troth.review.index.store import LetterIndex
from troth.review.kafka.topic import KafkaTopic
from troth.review.letters.letter import Letter, LetterState, Position
from troth.review.letters.reading import LetterReader

LETTERS = 1_000_000
PORTION = 500
STEPS = (10_000, 100_000, 1_000_000)
FROM_KAFKA, COMPARED, ROUNDS = 100_000, 10_000, 3
"""Letters in Kafka; letters and rounds of the comparison."""
GROWTH_MB = 16.0
"""Maximum growth of memory from 100,000 letters to a million, in MB."""
MOST = 1.5
"""Maximum ratio of indexing to reading and verifying."""
LOOKUPS = 200
ALL, FEW = "bench.orders.v1.dlq", "bench.orders.v1.few"
FAILED = Rejection(Reason.HANDLER_FAILED, "the handler failed")
_REF = Ref(*POLICY.split("/"))
_START = datetime(2026, 11, 28, 12, tzinfo=UTC)
_REASONS = ("SchemaInvalid", "HandlerFailed", "Expired", "ProducerNotGranted")


def reports() -> Iterator[Report]:
    """Measure in this process, with a Kafka server on the other core."""
    own, other = cores()
    with tempfile.TemporaryDirectory() as directory, on(own):
        yield _memory(Path(directory))
    with (
        tempfile.TemporaryDirectory() as directory,
        on(other),
        KafkaServer.start() as server,
        on(own),
    ):
        make_topics(server, [ALL, FEW])
        yield _from_kafka(Path(directory), server)


def _memory(directory: Path) -> Report:
    index = LetterIndex(directory / "letters.db")
    held = {0: resident(os.getpid())}
    began, done = time.perf_counter(), 0
    figures: list[Figure] = []
    for begin in range(0, LETTERS, PORTION):
        letters = [_letter(number) for number in range(begin, begin + PORTION)]
        index.feed(_REF, Portion(letters, next={0: begin + PORTION}))
        done = begin + PORTION
        if done in STEPS:
            held[done] = resident(os.getpid())
            taken = time.perf_counter() - began
            figures.append(Figure(f"letters per second, until {done:,}", done / taken))
    figures += [
        Figure(f"memory with {count:,} letters", each, "MB") for count, each in held.items()
    ]
    growth = held[STEPS[2]] - held[STEPS[1]]
    figures.append(Figure("growth from 100,000 to 1,000,000", growth, "MB", GROWTH_MB))
    size = (directory / "letters.db").stat().st_size
    figures += [Figure("file", size / 1e6, "MB"), *_queries(index)]
    figures.append(Figure("memory after the queries", resident(os.getpid()), "MB"))
    index.close()
    note = "Letters are made in this process, 500 in each transaction; nothing is verified."
    return Report(f"Index: {LETTERS:,} letters", (), note, figures)


def _queries(index: LetterIndex) -> Iterator[Figure]:
    until = _START + timedelta(days=365)
    first = partial(lambda chosen: len(list(index.select(_REF, chosen, until))))
    queries: dict[str, Callable[[], object]] = {
        "counts": lambda: index.counts(_REF),
        "tallies": index.tallies,
        "select the oldest 1,000": lambda: first(Letters(limit=1000)),
        "select 1,000 of one reason": lambda: first(Letters(reason="Expired", limit=1000)),
        "select 1,000 of one tenant of 100": lambda: first(Letters(tenant="tenant-7", limit=1000)),
        "select a tenant without letters": lambda: first(Letters(tenant="nobody")),
        "get": lambda: index.get(_REF, _letter(LETTERS // 2).id),
    }
    for what, query in queries.items():
        query()
        began = time.perf_counter()
        query()
        yield Figure(what, (time.perf_counter() - began) * 1000, "ms")
    began = time.perf_counter()
    for number in range(LOOKUPS):
        settled = Settlement(_letter(number * 37).id, LetterState.DISCARDED, _REF, _START)
        index.feed(_REF, Portion(settlements=[settled]))
    yield Figure("settle", (time.perf_counter() - began) / LOOKUPS * 1000, "ms")
    began = time.perf_counter()
    count = sum(1 for _ in index.select(_REF, Letters(limit=LETTERS), until))
    yield Figure(f"select all {count:,}", (time.perf_counter() - began) * 1000, "ms")


def _letter(number: int) -> Letter:
    digest = base64url.encode(sha256(str(number).encode()).digest())
    return Letter(
        id=digest,
        policy=_REF,
        position=Position(0, number),
        time=_START + timedelta(seconds=number // 100),
        consumer="spiffe://bench.example/ns/bench/sa/fulfilment",
        group=GROUP,
        reason=_REASONS[number % 4],
        origin=f"{TOPIC}/{number % 12}@{number}",
        attempts=3,
        digest=digest,
        size=1024,
        event_id=f"00000000-0000-4000-8000-{number:012}",
        producer="spiffe://bench.example/ns/bench/sa/checkout",
        tenant=f"tenant-{number % 100}",
    )


def _from_kafka(directory: Path, server: KafkaServer) -> Report:
    desk = Desk(directory, server)
    desk.fill(FEW, COMPARED)
    desk.fill(ALL, FROM_KAFKA)
    row = desk.comparison()
    held = asyncio.run(desk.follow(ALL, FROM_KAFKA, (FROM_KAFKA // 10, FROM_KAFKA)))
    figures = [Figure(f"memory after {each:,} letters", held[each], "MB") for each in held]
    note = (
        f"Indexing is Feeder: it reads {COMPARED:,} letters from Kafka, verifies the consumer's "
        "and the producer's seal, and writes. The floor reads and verifies the same letters."
    )
    return Report(f"Index: {FROM_KAFKA:,} letters from Kafka", [row], note, figures)


class Desk:
    """A reviewer, and a consumer whose letters are in Kafka."""

    first = 0
    """Offset of the first message of a topic."""
    broker: Mapping[str, str] = {"group": GROUP}
    """Members of an entry that name the consumer's group, and the broker."""

    def __init__(self, directory: Path, server: KafkaServer | None) -> None:
        self._directory = directory
        self._domain = domain = Domain.make()
        self._checkout, self._fulfilment = domain.svid("checkout"), domain.svid("fulfilment")
        producers = [self._checkout.spiffe_id]
        key: Any = load_private_key(self._checkout.key)
        consumes = {"action": "Consume", **self.broker, "producers": producers}
        self._trade = Trade(
            mount(directory / "producer", domain, self._checkout, {"action": "Publish"}),
            mount(directory / "consumer", domain, self._fulfilment, consumes),
            key,
        )
        self._configuration = (
            {}
            if server is None
            else {
                "bootstrap.servers": server.admin_address,
                "security.protocol": "ssl",
                "ssl.ca.location": str(server.authority.certificate),
                "ssl.certificate.location": str(server.administrator.certificate),
                "ssl.key.location": str(server.administrator.key),
            }
        )
        self._runs = 0

    def fill(self, topic: str, count: int) -> None:
        """Produce the dead letters of different messages."""
        producer = Producer({**self._configuration, "log_level": 0, "linger.ms": 50})
        sealer = self._trade.sealer()
        letters = DeadLetters(self._consumer(topic), POLICY, group=GROUP)
        for number in range(count):
            sealed = _dead(letters, seal(sealer, self._trade, order(number)), number)
            headers: Any = kafka.headers(sealed)
            producer.produce(topic, sealed.data, headers=headers)
            if number % PORTION == 0:
                producer.flush()
        producer.flush()

    def comparison(self) -> Comparison:
        """Compare indexing with reading and verifying."""

        def prepare() -> tuple[Turn, Turn]:
            return (
                lambda: [_timed(lambda: self.follow(FEW, COMPARED, ()))],
                lambda: [_timed(lambda: self.verify(FEW, COMPARED))],
            )

        for side in prepare():
            side()  # warm up
        return compare(f"index {COMPARED:,} letters", ROUNDS, prepare, MOST)

    async def verify(self, topic: str, count: int) -> None:
        """Read and verify letters, as the feeder does, and keep nothing."""
        letters, reader = self.topic(topic), self.reader(topic)
        found = 0
        batches = letters.read({})
        async for batch in batches:
            read = await asyncio.to_thread(lambda batch=batch: [*map(reader.read, batch)])  # type: ignore[misc]
            assert all(isinstance(each, Letter) for each in read)
            found += len(read)
            if found == count:
                break
        await batches.aclose()  # type: ignore[attr-defined]
        await letters.close()

    async def follow(self, topic: str, count: int, steps: tuple[int, ...]) -> dict[int, float]:
        """Index letters; return the memory in MB after some numbers of them."""
        self._runs += 1
        index = LetterIndex(self._directory / f"letters-{self._runs}.db")
        letters = self.topic(topic)
        feeder = Feeder(letters, index, self.reader(topic))
        task = asyncio.create_task(feeder.run())
        held: dict[int, float] = {}
        for step in (*steps, count):
            while index.positions(_REF).get(0, 0) < step:  # noqa: ASYNC110 - the index has no event
                await asyncio.sleep(0.01)
            if step in steps:
                held[step] = resident(os.getpid())
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert index.counts(_REF).pending == count
        index.close()
        await letters.close()
        return held

    def topic(self, topic: str) -> DeadLetterTopic:
        """Return a dead-letter topic as the reviewer uses it."""
        return KafkaTopic(topic, POLICY, lambda: self._configuration)

    def reader(self, topic: str) -> LetterReader:
        """Return the reviewer's reader of a topic."""
        return LetterReader(self.reviewer(topic), POLICY)

    def reviewer(self, topic: str) -> Identity:
        """Return the reviewer of a topic."""
        place = dict(self.broker)
        consumer = {"spiffeIDs": [self._fulfilment.spiffe_id], "group": place.pop("group")}
        entry = {"action": "Review", **place, **self._letters(topic), "consumers": [consumer]}
        reviewer = self._domain.svid("reviewer")
        files = self._directory / f"reviewer-{topic}"
        if not files.exists():
            mount(files, self._domain, reviewer, entry)
        return Identity(files, files)

    def _consumer(self, topic: str) -> Identity:
        entry = {"action": "Consume", **self.broker, **self._letters(topic)}
        return mount(self._directory / f"consumer-{topic}", self._domain, self._fulfilment, entry)

    def _letters(self, topic: str) -> dict[str, Any]:
        return {
            "producers": [self._checkout.spiffe_id],
            "deadLetter": {"topic": topic, "review": "Required"},
        }


def _dead(letters: DeadLetters, sealed: Sealed, number: int) -> Sealed:
    message = kafka.read(
        sealed.topic, kafka.headers(sealed), sealed.data, partition=0, offset=number
    )
    dead = letters.seal(message, FAILED, attempts=3)
    assert dead is not None
    return dead


def _timed(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    asyncio.run(work())
    return time.perf_counter() - began
