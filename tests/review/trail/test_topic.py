"""A topic has the audit log as sealed events, whose data are the lines."""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.edge.events.trade import POLICY, Trade, delivered, published
from tests.review.trail.scene import (
    DECISIONS,
    WORKER,
    ConfigMaps,
    Output,
    Worker,
    bundles,
    running,
)
from tests.virtual_time import run
from troth.edge.events.event import Event
from troth.edge.events.message import Sealed
from troth.edge.events.sealing import Sealer
from troth.review.brokers import BrokerUnavailableError, TooLargeError
from troth.review.trail.entry import read
from troth.review.trail.sinks import TYPE, LineSink, SinkError, TopicSink
from troth.review.trail.topic import AuditTopic
from troth.review.trail.verification import Verifier

PLAIN = {"schemas": [], "context": {"require": ["Actor"], "evidence": "Producer", "maxAge": 604800}}


@dataclass
class Broker:
    """A topic in memory. `faults` are raised by the next publications."""

    events: list[Sealed] = field(default_factory=list)
    faults: list[Exception] = field(default_factory=list)

    async def publish(self, sealed: Sealed) -> None:
        await asyncio.sleep(0)
        if self.faults:
            raise self.faults.pop(0)
        self.events.append(sealed)

    async def close(self) -> None:
        """It has no connection."""


@pytest.fixture
def trade(tmp_path: Path) -> Trade:
    return Trade(tmp_path / "trade")


@pytest.fixture
def worker(tmp_path: Path) -> Worker:
    made = Worker(tmp_path)
    made.issue(messages=[published(**PLAIN)])
    return made


def sink(worker: Worker, broker: Broker) -> TopicSink:
    return TopicSink(Sealer(worker.identity(), POLICY, clock=lambda: worker.now), broker)


def test_consumer_accepts_the_events_and_their_lines_verify(worker: Worker, trade: Trade) -> None:
    async def act() -> None:
        log = worker.log(ConfigMaps(), Output(), sink(worker, broker))
        async with running(log):
            for each in DECISIONS:
                await log.append(each)
            await asyncio.sleep(60)

    broker = Broker(faults=[BrokerUnavailableError("away"), TooLargeError("large")])
    run(act())
    trade.consume(**PLAIN | {"producers": [WORKER]})
    opened = [trade.open(delivered(each)) for each in broker.events]
    events = [each for each in opened if isinstance(each, Event)]
    assert len(events) == len(opened) == len(DECISIONS) + 1
    assert {(each.type, each.actor) for each in events} == {(TYPE, WORKER)}
    assert len({each.id for each in events}) == len(events)
    verifier = Verifier(bundles(), worker=WORKER)
    for each in events:
        verifier.take(each.data.decode(), each.id)
    assert verifier.report().faults == ()


def test_entry_that_is_published_again_has_the_same_id(worker: Worker) -> None:
    async def act() -> None:
        for _ in range(2):
            log = worker.log(server, Output(), sink(worker, broker))
            async with running(log):
                await asyncio.sleep(60)

    server, broker = ConfigMaps(), Broker()
    run(act())
    assert len(broker.events) == 2
    assert len({each.attributes["id"] for each in broker.events}) == 1


def test_worker_without_the_right_to_publish_keeps_the_entries(worker: Worker) -> None:
    async def act() -> None:
        log = worker.log(ConfigMaps(), Output(), sink(worker, broker))
        async with running(log):
            worker.issue()
            await log.append(DECISIONS[0])
            await asyncio.sleep(60)
            assert not broker.events
            worker.issue(messages=[published(**PLAIN)])
            await asyncio.sleep(60)

    broker = Broker()
    run(act())
    assert len(broker.events) == 2


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"type": "nats"}, "names no topic.stream"),
        ({"type": "mqtt"}, "cannot be published at mqtt"),
    ],
)
async def test_policy_that_keeps_no_messages_is_rejected(
    changed: dict[str, object], complaint: str, worker: Worker, tmp_path: Path
) -> None:
    worker.issue(messages=[published(**PLAIN | changed)])
    topic = AuditTopic(worker.identity(), POLICY, tmp_path)
    sealed = sink(worker, Broker())._sealer.seal(b"{}", type=TYPE)
    with pytest.raises(BrokerUnavailableError, match=complaint):
        await topic.publish(sealed)


async def test_line_that_failed_in_the_middle_is_written_again_on_a_line_of_its_own(
    worker: Worker,
) -> None:
    output = Output()
    log = worker.log(ConfigMaps(), output)
    async with running(log):
        await log.append(DECISIONS[0])
    verifier = Verifier(bundles(), worker=WORKER)
    torn = Torn()
    lines = LineSink(torn)  # type: ignore[arg-type]
    entries = [read(each) for each in output.lines]
    with pytest.raises(SinkError, match="stdout cannot be written: the disk is full"):
        await lines.write(entries)
    await lines.write(entries)
    for number, line in enumerate(torn.text.decode().splitlines()):
        verifier.take(line, str(number))
    report = verifier.report()
    assert (report.faults, report.torn, report.entries) == ((), 1, 2)
    assert torn.text.decode().splitlines()[1:] == output.lines


class Torn:
    """A file whose disk is full in the middle of the first write."""

    def __init__(self) -> None:
        self.text = b""

    def write(self, text: bytes) -> None:
        if not self.text:
            self.text += text[: len(text) // 3]
            raise OSError("the disk is full")
        self.text += text

    def flush(self) -> None:
        """It has no buffer."""
