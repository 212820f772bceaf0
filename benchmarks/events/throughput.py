"""Events per second through a real Kafka with confluent-kafka.

Both sides produce a round of records with one client, and then consume them with another, all on
one core; Kafka is on the other. Troth's side is the adapter: it seals each event, opens it, calls a
handler and stores the offset. The floor is a client that does the same cryptography and nothing
else: it validates and signs the data, sends the signature in a header, and verifies and validates
what it receives.
"""

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Any, cast

from confluent_kafka import Consumer, Producer

from benchmarks.events.trade import ES256, GROUP, POLICY, TOPIC, Trade, bare_check, order
from benchmarks.harness.cores import cores, on
from benchmarks.harness.report import Comparison, Figure, Report, quantile
from benchmarks.harness.turns import compare
from sandbox.brokers.kafka import KafkaServer
from sandbox.brokers.kafka_topics import make_topics
from troth.edge.events.adapters.confluent import EventConsumer, EventProducer
from troth.edge.events.consumption.blocking_duplicates import BlockingDuplicates
from troth.edge.events.consumption.duplicates import Duplicates
from troth.edge.events.consumption.handlers import handler
from troth.edge.events.event import Event
from troth.replay.memory import Memory

ROUNDS, RECORDS = 6, 2000
SHARE = 0.5
"""Minimum share of the floor's rate."""
AT_ONCE = 500
PATIENCE = 30.0
WINDOW = 3600.0
BARE_TOPIC = "bench.bare"
NOTE = (
    "A round is from the first record to produce until the last was consumed. Processor time is "
    "that of both clients with their threads, without Kafka's. The floor validates, "
    "signs, verifies and validates the same data with the same parser and libraries as the other "
    "floors; its records have one header. Both producers are idempotent. LZ4 shortens certificates "
    "but not the text in the data."
)

Headers = list[tuple[str, bytes]]
Configuration = Mapping[str, Any]


def reports() -> Iterator[Report]:
    """Measure in this process, with a Kafka server on the other core."""
    own, other = cores()
    with tempfile.TemporaryDirectory() as directory:
        trade = Trade.make(Path(directory))
        with on(other), KafkaServer.start() as server, on(own):
            make_topics(server, [TOPIC, BARE_TOPIC])
            yield _report(trade, server)


def _report(trade: Trade, server: KafkaServer) -> Report:
    configuration = {
        "bootstrap.servers": server.admin_address,
        "security.protocol": "ssl",
        "ssl.ca.location": str(server.authority.certificate),
        "ssl.certificate.location": str(server.administrator.certificate),
        "ssl.key.location": str(server.administrator.key),
        "log_level": 0,
    }
    compressed = {**configuration, "compression.type": "lz4"}
    data = [order(number) for number in range(RECORDS)]
    memory = BlockingDuplicates(Duplicates(Memory(), WINDOW, group=GROUP))
    rows: list[Comparison] = []
    with closing(memory):
        for what, options, duplicates in (
            ("produce and consume", configuration, None),
            ("the same, with duplicates in memory", configuration, memory),
            ("the same, both compressed with LZ4", compressed, None),
        ):
            with (
                closing(_Bare(trade, options)) as bare,
                closing(_Adapter(trade, options, duplicates)) as adapter,
            ):
                rows += _compared(
                    what, _Timed(partial(adapter.round, data)), _Timed(partial(bare.round, data))
                )
    figures = [
        Figure(f"records per second: {what}", RECORDS / quantile(times, 0.5))
        for row in rows[::2]
        for what, times in ((row.what, row.troth), (f"{row.what}: the floor", row.floor))
    ]
    title = f"Events: {RECORDS} through Kafka {server.version}, {ROUNDS} times"
    return Report(title, rows, NOTE, figures)


class _Timed:
    """The rounds of one client, with the processor time of each."""

    def __init__(self, round_: Callable[[], None]) -> None:
        self._round = round_
        self._round()  # warm up
        self.processor: list[float] = []

    def turn(self) -> list[float]:
        """Return the elapsed seconds of a round."""
        began, used = time.perf_counter(), time.process_time()
        self._round()
        self.processor.append(time.process_time() - used)
        return [time.perf_counter() - began]


def _compared(what: str, adapter: _Timed, bare: _Timed) -> Iterator[Comparison]:
    yield compare(what, ROUNDS, lambda: (adapter.turn, bare.turn), 1 / SHARE)
    yield Comparison(f"{what}: processor time", adapter.processor, bare.processor, 1 / SHARE)


class _Adapter:
    """The producer and the consumer that services use."""

    def __init__(
        self, trade: Trade, configuration: Configuration, duplicates: BlockingDuplicates | None
    ) -> None:
        self._trade = trade
        self._handled = 0
        self._closing = ExitStack()
        self._producer = self._closing.enter_context(
            EventProducer(trade.producer, POLICY, configuration)
        )
        self._consumer = self._closing.enter_context(
            EventConsumer(
                trade.consumer,
                handler(policy=POLICY)(self._handle),
                configuration,
                duplicates=duplicates,
            )
        )

    def _handle(self, _: Event) -> None:
        self._handled += 1

    def round(self, data: Sequence[bytes]) -> None:
        """Produce and consume the data."""
        contexts = [self._trade.context() for _ in data]
        wanted = self._handled + len(data)
        for each, context in zip(data, contexts, strict=True):
            self._producer.produce(each, **context)
        assert self._producer.flush(PATIENCE) == 0
        while self._handled < wanted:
            self._consumer.poll(PATIENCE)

    def close(self) -> None:
        """Leave the group."""
        self._closing.close()


class _Bare:
    """The floor: the client library, `cryptography`, the JSON parser and the validator."""

    def __init__(self, trade: Trade, configuration: Configuration) -> None:
        self._check: Callable[[bytes], None] = bare_check()
        self._key, self._public = trade.key, trade.key.public_key()
        self._producer = Producer({**configuration, "enable.idempotence": True})
        self._consumer = Consumer(
            {**configuration, "group.id": "bench.bare", "auto.offset.reset": "earliest"}
        )
        self._consumer.subscribe([BARE_TOPIC])

    def round(self, data: Sequence[bytes]) -> None:
        """Produce and consume the data."""
        for each in data:
            self._check(each)
            signature = self._key.sign(each, ES256)
            self._producer.produce(BARE_TOPIC, each, headers=[("signature", signature)])
            self._producer.poll(0)
        assert self._producer.flush(PATIENCE) == 0
        received = 0
        while received < len(data):
            for record in self._consumer.consume(AT_ONCE, PATIENCE):
                assert record.error() is None, record.error()
                [(_, signature)] = cast("Headers", record.headers())
                value = record.value()
                assert value is not None
                self._public.verify(signature, value, ES256)
                self._check(value)
                received += 1

    def close(self) -> None:
        """Leave the group."""
        self._consumer.close()
