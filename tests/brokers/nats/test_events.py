"""Sealed events at a real NATS: what is acknowledged, and what reaches the dead-letter topic."""

import asyncio
import re
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from nats.js.api import AckPolicy, ConsumerConfig

from tests.brokers.nats.events import GROUP, STREAM, TOPIC, NatsMarket, listening
from tests.brokers.nats.stage import Stage, until
from tests.brokers.waiting import becomes
from tests.edge.events.trade import CHECKOUT, ORDER, POLICY
from tests.patience import PATIENCE
from troth.documents.client_name import client_name
from troth.edge.events.adapters.nats import EventConsumer, connect, producer
from troth.edge.events.adapters.nats import consumer as consumer_module
from troth.edge.events.adapters.nats.producer import publish_dead_letter
from troth.edge.events.adapters.nats.pulling import Pull
from troth.edge.events.bindings import nats as binding
from troth.edge.events.consumption.duplicates import Duplicates
from troth.edge.events.consumption.flow import StoppedError
from troth.edge.events.consumption.handlers import handler
from troth.edge.events.event import Event
from troth.edge.events.rejection import Reason
from troth.replay.memory import Memory


@pytest.fixture
async def market(nats: Stage, tmp_path: Path) -> NatsMarket:
    return NatsMarket(nats, tmp_path)


class Waits:
    """Hooks that count causes of waiting."""

    def __init__(self) -> None:
        self.causes: list[str] = []

    def consumed(self, _: Any) -> None: ...

    def waited(self, reason: str, _: float) -> None:
        self.causes.append(reason)


def remembering() -> Duplicates:
    return Duplicates(Memory(), 3600.0, group="fulfilment")


async def settled(market: NatsMarket) -> None:
    """Wait until every message is acknowledged."""

    async def all_acknowledged() -> bool:
        info = await market.info()
        return info.num_pending == 0 and info.num_ack_pending == 0

    await becomes(all_acknowledged)


@pytest.mark.parametrize("stream", [True, False])
async def test_event_arrives_with_all_that_was_verified(market: NatsMarket, stream: bool) -> None:
    await market.open(stream=stream)
    async with market.consumer() as consumer:
        await listening(consumer)
        sealed = await market.publish(tenant="größer", subject="customer-42")
        await until(lambda: market.handled)
    (event,) = market.handled
    assert event.id == sealed.attributes["id"]
    assert (event.actor, event.tenant, event.data) == (CHECKOUT, "größer", ORDER)
    assert market.letters() == []
    if stream:
        await settled(market)


@pytest.mark.parametrize("stream", [True, False])
async def test_rejected_messages_become_dead_letters(market: NatsMarket, stream: bool) -> None:
    await market.open(stream=stream)
    async with market.consumer() as consumer:
        await listening(consumer)
        await market.inject(None, b"nobody signed this")
        await market.inject({"CE-id": "1"})
        await market.publish()
        await until(lambda: market.handled and len(market.letters()) >= 2)
    assert market.reasons() == ["Unsigned", "Malformed"]
    if stream:
        assert [each.origin for each in market.letters()] == [f"{TOPIC}@1", f"{TOPIC}@2"]
        await settled(market)


async def test_back_dated_event_is_rejected(market: NatsMarket) -> None:
    await market.open()
    before = market.market.clock() - 301
    market.market.clock = lambda: before  # type: ignore[method-assign]
    await market.copy(market.market.seal())
    async with market.consumer():
        await until(market.letters)
    assert market.reasons() == ["TimeMismatch"]


async def test_header_of_a_proxy_changes_no_verdict(market: NatsMarket) -> None:
    await market.open()
    sealed = market.market.seal(tenant="acme")
    await market.copy(sealed, **{"X-Request-Id": "1"})
    await market.copy(sealed, **{"ce-trothtenant": "globex"})
    await market.copy(sealed, **{"Ce-Trothtenant": "globex"})
    async with market.consumer():
        await until(lambda: len(market.letters()) == 2)
    assert [each.tenant for each in market.handled] == ["acme"]
    assert market.reasons() == ["SignatureInvalid", "Malformed"]


async def test_stored_status_is_no_answer_of_the_server(market: NatsMarket) -> None:
    await market.open()
    statuses = ("100", "404", "408", "409", "503")
    for status in statuses:
        await market.inject({"Status": status})
    await market.copy(market.market.seal(), Status="404")
    async with market.consumer():
        await until(lambda: market.handled and len(market.letters()) == len(statuses))
        await settled(market)
    assert market.reasons() == ["Unsigned"] * len(statuses)


async def test_headers_that_libraries_change_are_read_as_they_were_sent(
    market: NatsMarket,
) -> None:
    await market.open()
    sealed = market.market.seal()
    genuine = "".join(f"{name}: {value}\r\n" for name, value in binding.headers(sealed).items())
    for status, first in (
        (b"", b"ce-trothtenant: globex\r\nce-trothtenant: acme\r\n"),
        (b"", b"ce-type: forged\r\n"),
        (b"", b"ce-trothtenant: \xff\r\n"),
        (b"", b" CE-id: 1\r\n"),
        (b" \xff\xff\xff \xff", b"ce-type: forged\r\n"),
        (b" 404 \xff", b"ce-type: forged\r\n"),
    ):
        block = b"NATS/1.0" + status + b"\r\n" + first + genuine.encode() + b"\r\n"
        await market.inject_raw(block, sealed.data)
    await market.inject_raw(b"NATS/1.0\r\n\xff: \xff\r\n\r\n")
    await market.inject_raw(b"NATS/1.0 \xff\xff\xff\r\n\r\n")
    await market.copy(sealed)
    async with market.consumer():
        await until(lambda: market.handled and len(market.letters()) == 8)
        await settled(market)
    assert market.reasons() == ["Malformed"] * 6 + ["Unsigned"] * 2
    assert len(market.handled) == 1


async def test_event_is_stored_once_and_beside_one_of_another_with_its_id(
    market: NatsMarket,
) -> None:
    await market.open()
    number = str(uuid4())
    await market.inject({"Nats-Msg-Id": number})
    for _ in range(2):
        await market.publish(id=number)
    info = await market.witness.jetstream(timeout=PATIENCE).stream_info(STREAM)
    assert info.state.messages == 2


async def test_no_dead_letter_has_an_id_that_a_stream_compares(market: NatsMarket) -> None:
    await market.open()
    await market.inject(None)
    async with market.consumer():
        await until(market.letters)
    (letter,) = market._letters
    assert "Nats-Msg-Id" not in (letter.headers or {})


async def test_message_that_waits_holds_up_no_other(market: NatsMarket) -> None:
    await market.open()
    first = await market.publish()
    market.market.consume(producers=[])
    waits = Waits()
    async with market.consumer(patience=3600.0, hooks=waits):
        await until(lambda: "ProducerNotGranted" in waits.causes)
        await market.inject(None)
        await until(market.letters)
        assert not market.handled
        market.market.consume()
        await until(lambda: market.handled)
    assert market.handled[0].id == first.attributes["id"]
    await settled(market)


def slow_dead_letters(monkeypatch: pytest.MonkeyPatch) -> tuple[asyncio.Event, asyncio.Event]:
    """Publish a dead letter only after the second event; set the first when one is due."""
    began, ended = asyncio.Event(), asyncio.Event()

    async def publish_slowly(*given: Any, **options: Any) -> None:
        began.set()
        await ended.wait()
        await publish_dead_letter(*given, **options)

    monkeypatch.setattr(consumer_module, "publish_dead_letter", publish_slowly)
    return began, ended


async def test_dead_letter_that_is_published_holds_up_no_message(
    market: NatsMarket, monkeypatch: pytest.MonkeyPatch
) -> None:
    await market.open()
    began, ended = slow_dead_letters(monkeypatch)
    await market.inject(None)
    async with market.consumer():
        await until(began.is_set)
        await market.publish()
        await until(lambda: market.handled)
        assert market.letters() == []
        ended.set()
        await until(market.letters)
        await settled(market)


async def test_dead_letter_that_is_published_is_finished_at_a_stop(
    market: NatsMarket, monkeypatch: pytest.MonkeyPatch
) -> None:
    await market.open()
    began, ended = slow_dead_letters(monkeypatch)
    await market.inject(None)
    async with market.consumer() as consumer:
        await until(began.is_set)
        consumer.stop()
        await asyncio.sleep(0)
        ended.set()
    await until(market.letters)
    await settled(market)


async def test_plain_handler_does_not_hold_up_the_event_loop(market: NatsMarket) -> None:
    await market.open()
    await market.publish()
    began, goes_on = threading.Event(), threading.Event()
    results: list[bool] = []

    def place(_: Event) -> None:
        began.set()
        results.append(goes_on.wait(PATIENCE / 2))

    async with market.consumer(place):
        await until(began.is_set)
        goes_on.set()
        await until(lambda: results)
    assert results == [True]


async def test_message_that_waits_is_not_delivered_again(market: NatsMarket) -> None:
    await market.open(ack_wait=0.3)
    await market.publish()
    market.market.consume(producers=[])
    waits = Waits()
    async with market.consumer(patience=3600.0, hooks=waits, first_pause=0.1):
        await until(lambda: len(waits.causes) >= 5)
        info = await market.info()
        assert (info.num_ack_pending, info.num_redelivered) == (1, 0)


@pytest.mark.long
async def test_nothing_is_lost_while_the_dead_letter_topic_denies(
    market: NatsMarket, monkeypatch: pytest.MonkeyPatch
) -> None:
    await market.open(dead_letters=False)
    await market.inject(None)
    waits = Waits()
    with monkeypatch.context() as denied:
        denied.setattr(producer, "PUBLISH_SECONDS", 1.0)  # a denied message has no answer
        async with market.consumer(hooks=waits):
            await until(lambda: "DeadLetterNotPublished" in waits.causes)
            info = await market.info()
            assert info.ack_floor is not None
            assert info.ack_floor.stream_seq == 0
    async with market.consumer(hooks=waits):
        await market.grant_dead_letters()
        await until(market.letters)
    assert market.reasons() == ["Unsigned"]
    await settled(market)


async def test_denied_dead_letter_is_noticed_without_a_stream(market: NatsMarket) -> None:
    await market.open(stream=False, dead_letters=False)
    waits = Waits()
    async with market.consumer(hooks=waits):

        async def noticed() -> bool:
            await market.inject(None)
            return "DeadLetterNotPublished" in waits.causes

        await becomes(noticed)
        await market.grant_dead_letters()
        await until(market.letters)


async def test_large_headers_are_omitted_from_a_dead_letter(market: NatsMarket) -> None:
    await market.open()
    # JetStream stores at most 64 KiB of headers; base64 twice makes 80 KiB of these
    await market.inject({"X-Large": "x" * 45_000}, b"data")
    async with market.consumer():
        await until(market.letters)
    (letter,) = market.letters()
    assert letter.omitted == {"headers"}
    assert letter.message.data == b"data"
    await settled(market)


async def test_large_data_leaves_its_digest(market: NatsMarket) -> None:
    await market.open()
    await market.inject(None, b"x" * (market.witness.max_payload - 100))
    await market.publish()
    async with market.consumer(most_bytes=1000):
        await until(lambda: market.handled and market.letters())
    (letter,) = market.letters()
    assert letter.rejection.reason is Reason.TOO_LARGE
    assert letter.omitted == {"data"}
    await settled(market)


async def test_event_that_was_handled_before_its_acknowledgement_is_not_handled_again(
    market: NatsMarket, monkeypatch: pytest.MonkeyPatch
) -> None:
    await market.open(ack_wait=0.3)
    await market.publish()
    duplicates = remembering()

    async def lost(*_: Any) -> None: ...

    with monkeypatch.context() as patch:
        patch.setattr(EventConsumer, "_acknowledge", lost)
        async with market.consumer(duplicates=duplicates):
            await until(lambda: market.handled)
    async with market.consumer(duplicates=duplicates):
        await settled(market)
    assert len(market.handled) == 1
    assert market.letters() == []


@pytest.mark.parametrize("stream", [True, False])
async def test_copy_of_an_event_is_a_duplicate(market: NatsMarket, stream: bool) -> None:
    await market.open(stream=stream)
    sealed = market.market.seal()
    async with market.consumer(duplicates=remembering()) as consumer:
        await listening(consumer)
        for _ in range(2):
            await market.copy(sealed)
        await until(lambda: market.handled and market.letters())
    assert market.reasons() == ["Duplicate"]
    assert len(market.handled) == 1


async def test_deleted_policy_loses_no_queued_message(market: NatsMarket) -> None:
    await market.open()
    sealed = await market.publish()
    await market.inject(None)
    waits = Waits()

    async with market.consumer(hooks=waits) as consumer:
        await until(lambda: consumer._tasks or market.handled)
    market.handled.clear()
    market._letters.clear()
    sealed = await market.publish()
    market.market.entries()
    async with market.consumer(hooks=waits):
        market.market.consume()
        await until(lambda: market.handled)
    assert market.handled[-1].id == sealed.attributes["id"]
    await settled(market)


async def test_grant_that_ends_while_a_message_waits_loses_nothing(market: NatsMarket) -> None:
    await market.open()
    market.market.consume(producers=[])
    sealed = await market.publish()
    waits = Waits()
    async with market.consumer(hooks=waits, patience=3600.0):
        await until(lambda: "ProducerNotGranted" in waits.causes)
        market.market.entries()
        await until(lambda: "NotGranted" in waits.causes)
        market.market.consume()
        await until(lambda: market.handled)
    assert market.handled[0].id == sealed.attributes["id"]
    assert market.letters() == []


async def test_rejected_message_stops_a_consumer_without_dead_letter_topic(
    market: NatsMarket,
) -> None:
    await market.open()
    market.market.consume(deadLetter=None)
    await market.inject(None)
    with pytest.raises(StoppedError, match=f"{TOPIC}@1"):
        async with market.consumer() as consumer:
            await until(lambda: consumer._stopped)
    info = await market.info()
    assert info.ack_floor is not None
    assert info.ack_floor.stream_seq == 0
    async with market.consumer(on_rejected="drop"):
        await settled(market)


async def test_handlers_may_be_coroutines_and_run_at_once(market: NatsMarket) -> None:
    await market.open()
    together = asyncio.Barrier(2)

    async def meet(event: Event) -> None:
        await together.wait()
        market.handled.append(event)

    for _ in range(2):
        await market.publish()
    async with market.consumer(meet, concurrency=2):
        await until(lambda: len(market.handled) == 2)
    await settled(market)


async def test_handler_that_fails_is_called_again_and_then_rejected(market: NatsMarket) -> None:
    await market.open()
    await market.publish()
    calls: list[str] = []

    def fail(event: Event) -> None:
        calls.append(event.id)
        raise ValueError("card 4111")

    async with market.consumer(fail, attempts=2, duplicates=remembering()):
        await until(market.letters)
    assert len(calls) == 2
    (letter,) = market.letters()
    assert (letter.rejection.reason, letter.attempts) == (Reason.HANDLER_FAILED, 2)
    assert "4111" not in letter.rejection.detail
    await settled(market)


@pytest.mark.parametrize("policy", [AckPolicy.NONE, AckPolicy.ALL])
async def test_durable_consumer_that_loses_messages_is_rejected(
    market: NatsMarket, policy: AckPolicy
) -> None:
    await market.open(ack=policy)
    with pytest.raises(ValueError, match="explicit"):
        async with market.consumer() as consumer:
            await until(lambda: consumer._stopped)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"max_deliver": 3}, "max_deliver 3"),
        ({"filter_subject": None}, "filter none; set filter_subject to prod.orders"),
        ({"filter_subject": "prod.>"}, "filter prod.>;"),
        (
            {"filter_subject": None, "filter_subjects": ["prod.a", "prod.b"]},
            "filter prod.a, prod.b;",
        ),
    ],
)
async def test_durable_consumer_with_other_limits_or_filters_is_rejected(
    market: NatsMarket, options: dict[str, Any], sentence: str
) -> None:
    await market.open()
    jetstream = market.witness.jetstream(timeout=PATIENCE)
    await jetstream.update_stream(
        name=STREAM, subjects=[TOPIC, "prod.a", "prod.b"], storage="memory"
    )
    await jetstream.delete_consumer(STREAM, GROUP)
    given: dict[str, Any] = {"filter_subject": TOPIC} | options
    config = ConsumerConfig(durable_name=GROUP, ack_policy=AckPolicy.EXPLICIT, **given)
    await jetstream.add_consumer(STREAM, config)
    with pytest.raises(ValueError, match=re.escape(sentence)):
        async with market.consumer() as consumer:
            await until(lambda: consumer._stopped)


async def test_connection_has_the_name_of_the_guard(market: NatsMarket, tmp_path: Path) -> None:
    await market.open()
    stage = market.stage
    files = tmp_path / "broker"
    files.mkdir()
    (creds,) = (text for (name, _), text in stage.creds.items() if name == "checkout")
    (files / "servers").write_text(stage.server.url)
    (files / "user.creds").write_text(creds)
    (files / "inbox.prefix").write_text("_TROTH_checkout")
    client = await connect(files, [POLICY], tls=stage.server.tls())
    stage.clients.append(client)
    assert client.options["name"] == client_name([POLICY])


async def test_push_consumer_is_acknowledged_too(market: NatsMarket) -> None:
    await market.open()
    jetstream = market.witness.jetstream(timeout=PATIENCE)
    config = ConsumerConfig(
        durable_name="pushed",
        deliver_subject="pushed.here",
        ack_policy=AckPolicy.EXPLICIT,
        filter_subject=TOPIC,
    )
    await jetstream.add_consumer(STREAM, config)
    subscription = await jetstream.subscribe_bind(STREAM, config, "pushed", manual_ack=True)
    sealed = await market.publish()
    async with market.consumer(subscription=subscription):
        await until(lambda: market.handled)

        async def acknowledged() -> bool:
            info = await jetstream.consumer_info(STREAM, "pushed")
            return bool(info.num_ack_pending == 0)

        await becomes(acknowledged)
    assert market.handled[0].id == sealed.attributes["id"]


async def test_consumer_stops_although_a_cancellation_is_lost(
    market: NatsMarket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in Python 3.11, if a message comes at the same time."""
    await market.open()
    fetch = Pull.fetch

    async def lose(*given: Any, **options: Any) -> None:
        with suppress(asyncio.CancelledError):
            await fetch(*given, **options)

    monkeypatch.setattr(Pull, "fetch", lose)
    await market.publish()
    async with market.consumer():
        await until(lambda: market.handled)


async def test_consumer_waits_for_its_grant(market: NatsMarket) -> None:
    await market.open()
    await market.publish()
    market.market.entries()
    client = await market.stage.connect("fulfilment")
    identity = market.market.identity(market.market.fulfilment)
    consumer = EventConsumer(
        identity, handler(policy=POLICY)(market.handled.append), client, duplicates=None
    )
    running = asyncio.create_task(consumer.run())
    await until(lambda: "NoGrant" in consumer._logged)
    market.market.consume()
    await until(lambda: market.handled)
    consumer.stop()
    await running
