"""`troth event tail` on a real Kafka, with the consumer's own credential and beside its group."""

import asyncio
import json
import time
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from confluent_kafka import Message, Producer, TopicPartition
from confluent_kafka.admin import NewTopic

from sandbox.brokers.kafka import KafkaServer
from tests.brokers.kafka.clients import access, administered, bare
from tests.brokers.waiting import observed
from tests.cli.event.market import mounts
from tests.cli.running import Ended, troth
from tests.edge.events.trade import CHECKOUT, ORDER, Trade
from tests.patience import PATIENCE
from troth.brokers.kafka.rules import rules
from troth.brokers.protocol import Batch, CredentialRequest
from troth.cli.event.credentials import kafka_properties
from troth.cli.event.kafka_topic import message_of, read_topic
from troth.cli.event.tailing import Reading, Start
from troth.edge.events import message as events
from troth.edge.events.bindings import kafka as binding
from troth.edge.events.message import Sealed
from troth.edge.events.rejection import Reason
from troth.planning.steps.broker_credentials import CredentialChange
from troth.reconcile.apply.secrets.credential_data import changed_data, material
from troth.resources.messaging.broker_type import BrokerType
from troth.resources.references import Ref
from troth.trust.grants import Action, Grant, Slot, Topic

HOSTILE = "\x1b]0;owned\x07\u202e"


class Tailing:
    """The command with the credential of fulfilment, and an administrator that publishes."""

    def __init__(self, server: KafkaServer, trade: Trade, mine: str, folder: Path) -> None:
        self.server, self.trade, self.folder = server, trade, folder
        self.topic, self.group, self.principal = f"{mine}orders", f"{mine}g", f"{mine}reader"
        self.admin = bare(server)
        self.producer = Producer({**access(server).configuration(), "log_level": 0})

    def create(self, topic: str = "", *, partitions: int = 1) -> None:
        config = {"message.timestamp.type": "LogAppendTime"}
        topics = [NewTopic(topic or self.topic, partitions, 1, config=config)]
        for made in self.admin.create_topics(topics).values():
            made.result()

    async def grant(self) -> None:
        """Give fulfilment its credential and its grant, as the operator does."""
        request = CredentialRequest(
            Ref("messaging", "main"),
            BrokerType.KAFKA,
            self.principal,
            (self.server.client_address,),
            self.server.authority.certificate.read_text(),
        )
        data = changed_data(CredentialChange.ISSUE, {}, request, datetime.now(UTC))
        self.folder.mkdir()
        for name, content in data.items():
            (self.folder / name).write_bytes(content)
        grant = Grant(self.principal, Action.CONSUME, Topic(self.topic), self.group)
        additions = rules([grant])
        credential = material(request.type, data, "current")
        broker = administered(self.server)
        try:
            assert await broker.apply(Batch((credential,), tuple(additions))) == ()
            await observed(
                broker,
                lambda seen: (
                    (self.principal, Slot.FIRST) in seen.credentials and additions <= seen.rules
                ),
            )
        finally:
            await broker.close()

    def publish(self, sealed: Sealed | bytes, *, partition: int = 0, **changed: bytes) -> None:
        headers = dict(binding.headers(sealed)) | changed if isinstance(sealed, Sealed) else changed
        data = sealed.data if isinstance(sealed, Sealed) else sealed
        self.producer.produce(self.topic, data, headers=[*headers.items()], partition=partition)
        assert self.producer.flush(PATIENCE) == 0

    async def run(self, *more: str, credentials: Path | None = None) -> Ended:
        folder = ("--credentials", str(credentials or self.folder))
        return await asyncio.to_thread(troth, "event", "tail", *mounts(self.trade), *folder, *more)

    async def documents(self, *more: str) -> list[dict[str, Any]]:
        ended = await self.run("-o", "json", *more)
        assert ended.errors == ""
        found = [json.loads(line) for line in ended.lines]
        assert ended.code == (0 if all(each["accepted"] for each in found) else 1)
        return found


@pytest.fixture
def trade(tmp_path: Path) -> Trade:
    return Trade(tmp_path)


@pytest.fixture
async def tailing(kafka_server: KafkaServer, trade: Trade, mine: str, tmp_path: Path) -> Tailing:
    made = Tailing(kafka_server, trade, mine, tmp_path / "broker")
    trade.now = time.time()
    trade.publish(topic=made.topic)
    trade.consume(topic=made.topic, group=made.group)
    await made.grant()
    return made


async def test_each_message_is_shown_with_its_verdict(tailing: Tailing) -> None:
    tailing.create()
    sealed = tailing.trade.seal(tenant="acme")
    tailing.publish(sealed)
    tailing.publish(b"no event")
    tailing.publish(sealed, ce_trothtenant=b"globex")
    ended = await tailing.run()
    assert (ended.code, ended.errors) == (1, "")
    first, second, third = ended.lines
    assert first.startswith(f"✓ {tailing.topic}/0@0  ")
    assert "tenant acme" in first
    assert CHECKOUT in first
    assert second.startswith(f"✗ {tailing.topic}/0@1  Unsigned: ")
    assert third.startswith(f"✗ {tailing.topic}/0@2  SignatureInvalid: ")
    assert "A-1" not in ended.output
    assert ORDER.decode() in (await tailing.run("--payload")).output


async def test_time_of_the_broker_counts(tailing: Tailing) -> None:
    """The topic has times of the log, so an event of an hour ago was not published then."""
    tailing.create()
    tailing.trade.now -= 3600
    tailing.trade.publish(topic=tailing.topic)
    tailing.publish(tailing.trade.seal())
    (document,) = await tailing.documents()
    assert document["code"] == "TimeMismatch"


async def test_part_of_a_topic_is_shown(tailing: Tailing) -> None:
    tailing.create(partitions=2)
    for _ in range(12):
        tailing.publish(b"no event")
    tailing.publish(b"no event", partition=1)
    for more, expected in (
        (("--partition", "0"), range(2, 12)),
        (("--partition", "0", "--offset", "-2"), range(10, 12)),
        (("--partition", "0", "--offset", "start"), range(12)),
        (("--partition", "0", "--offset", "10"), range(10, 12)),
        (("--offset", "end"), range(0)),
        (("--offset", "99"), range(0)),
        (("--partition", "0", "--offset", "start", "--limit", "2"), range(2)),
    ):
        found = [each["origin"] for each in await tailing.documents(*more)]
        assert found == [f"{tailing.topic}/0@{number}" for number in expected], more
    every = {each["origin"] for each in await tailing.documents("--offset", "-1")}
    assert every == {f"{tailing.topic}/0@11", f"{tailing.topic}/1@0"}


async def test_prefix_shows_all_its_topics(tailing: Tailing) -> None:
    tailing.create()
    tailing.publish(b"no event")
    prefix = tailing.topic.removesuffix("orders")
    tailing.trade.consume(topic=None, prefix=prefix, group=tailing.group)
    found = [each["origin"] for each in await tailing.documents()]
    assert found == [f"{tailing.topic}/0@0"]


async def test_group_is_not_joined_and_nothing_is_committed(tailing: Tailing) -> None:
    tailing.create()
    tailing.publish(tailing.trade.seal())
    assert len(await tailing.documents("--offset", "start")) == 1
    listed = tailing.admin.list_consumer_groups().result()
    assert tailing.group not in {each.group_id for each in listed.valid}


async def test_further_messages_are_followed(tailing: Tailing) -> None:
    tailing.create()
    tailing.publish(b"no event")
    running = asyncio.create_task(
        tailing.documents("--follow", "--limit", "3", "--offset", "start")
    )
    tailing.publish(tailing.trade.seal())
    tailing.publish(tailing.trade.seal())
    found = await asyncio.wait_for(running, PATIENCE)
    assert [each["accepted"] for each in found] == [False, True, True]


async def test_reading_ends_at_the_end_that_it_found(tailing: Tailing) -> None:
    """Each message that is shown causes a further one, as a busy producer would."""
    tailing.create(partitions=2)
    tailing.publish(b"no event")
    tailing.publish(b"no event", partition=1)
    shown: list[str] = []

    def show(message: events.Message) -> bool:
        shown.append(message.origin)
        tailing.publish(b"a further one", partition=message.partition or 0)
        return len(shown) < 5

    reading = Reading(tailing.topic, prefix=False, start=Start(0), follow=False, name="reader")
    properties = kafka_properties(tailing.folder)
    await asyncio.to_thread(read_topic, properties, tailing.group, None, reading, show)
    assert sorted(shown) == [f"{tailing.topic}/0@0", f"{tailing.topic}/1@0"]


async def test_tombstones_and_hostile_content_are_shown(tailing: Tailing) -> None:
    tailing.create()
    hostile: list[tuple[str, str | bytes | None]]
    hostile = [("ce_type", HOSTILE.encode()), (HOSTILE, b"\xff")]
    tailing.producer.produce(tailing.topic, None, headers=[("ce_id", None)])
    tailing.producer.produce(tailing.topic, HOSTILE.encode(), headers=hostile)
    tailing.producer.produce(tailing.topic, b"\xff\x00", headers=[("ce_id", b"1")] * 1000)
    assert tailing.producer.flush(PATIENCE) == 0
    assert len(await tailing.documents("--payload")) == 3
    ended = await tailing.run("--payload")
    assert len(ended.lines) == 5
    assert not {"\x1b", "\x07", "\u202e"} & {*ended.output}


class Scripted:
    """The library's consumer, which delivers these records."""

    def __init__(self, *places: tuple[int, int]) -> None:
        self.places = [*places]

    def __call__(self, _: dict[str, Any]) -> "Scripted":
        return self

    def list_topics(self, topic: str, **_: Any) -> SimpleNamespace:
        partitions = {each for each, _ in self.places}
        return SimpleNamespace(topics={topic: SimpleNamespace(error=None, partitions=partitions)})

    def get_watermark_offsets(self, *_: Any, **__: Any) -> tuple[int, int]:
        return 0, 1

    def assign(self, _: list[TopicPartition]) -> None: ...

    def close(self) -> None: ...

    def poll(self, _: float) -> "Record":
        return Record(*self.places.pop(0))


def test_message_that_came_after_the_start_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other partition is not yet at its end."""
    monkeypatch.setattr("troth.cli.event.kafka_topic.Consumer", Scripted((0, 0), (0, 1), (1, 0)))
    shown: list[str] = []

    def show(message: events.Message) -> bool:
        shown.append(message.origin)
        return True

    reading = Reading("orders", prefix=False, start=Start(0), follow=False, name="reader")
    read_topic({}, "group", None, reading, show)
    assert shown == ["orders/0@0", "orders/1@0"]


class Record:
    """A record with a header name that is not UTF-8, as the library shows it."""

    def __init__(self, partition: int, offset: int) -> None:
        self.place = (partition, offset)
        self.calls = 0

    def error(self) -> None:
        return None

    def headers(self) -> list[tuple[str, bytes]]:
        self.calls += 1
        assert self.calls == 1, "the library would return a list that crashes the process"
        return [(b"ce_\xff".decode(), b"x")]

    def timestamp(self) -> tuple[int, int]:
        return 1, 0

    def topic(self) -> str:
        return "orders"

    def value(self) -> bytes:
        return b"data"

    def partition(self) -> int:
        return self.place[0]

    def offset(self) -> int:
        return self.place[1]


def test_header_name_that_is_not_utf_8_is_a_rejection() -> None:
    message = message_of(cast("Message", Record(0, 7)))
    assert message.origin == "orders/0@7"
    assert message.fault is not None
    assert message.fault.reason is Reason.MALFORMED


async def test_topic_that_is_not_granted_is_not_read(tailing: Tailing, mine: str) -> None:
    tailing.create()
    tailing.create(f"{mine}other")
    for topic in (f"{mine}other", f"{mine}nowhere"):
        ended = await tailing.run(topic)
        assert (ended.code, ended.output) == (2, "")
        assert "Kafka" in ended.errors
        assert "Traceback" not in ended.errors
    missing = await tailing.run("--partition", "7")
    assert missing.code == 2
    assert "no such topic or partition" in missing.errors


async def test_unusable_credential_is_named(tailing: Tailing, tmp_path: Path) -> None:
    tailing.create()
    good = (tailing.folder / "client.properties").read_text()
    ca = str(tailing.folder / "ca.crt")
    good = good.replace("=ca.crt", f"={ca}")
    secret = next(each for each in good.splitlines() if "password" in each).partition("=")[2]
    address = tailing.server.client_address
    for text, sentence in (
        (good.replace(secret, "hunter2"), "Kafka rejects the credential"),
        (good.replace(address, "127.0.0.1:1"), "Kafka did not answer"),
        (good.replace(ca, str(tailing.server.administrator.certificate)), "not from a trusted"),
        (good + "no.such.property=hunter2\n", "the property no.such.property is unknown"),
        (good + "hunter2\n", "not a property of the form NAME=VALUE"),
        ("", "has no bootstrap.servers"),
    ):
        file = tmp_path / "wrong.properties"
        file.write_text(text)
        ended = await tailing.run(credentials=file)
        assert (ended.code, ended.output) == (2, ""), sentence
        assert sentence in ended.errors
        assert "Traceback" not in ended.errors
        assert "hunter2" not in ended.errors
    assert "No such file" in (await tailing.run(credentials=tmp_path / "nowhere")).errors
    assert (await tailing.run("--stream", "ORDERS")).code == 2
