"""The demo detects a consumer that accepts forged events, and wrong dead letters."""

import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest

from sandbox.demo.cast import CHECKOUT, FULFILMENT, PAYMENTS
from sandbox.demo.events import table
from sandbox.demo.events.exchange import ATTEMPTS, GROUP, Fulfilment, Party
from sandbox.demo.events.orders import CONTEXT, TYPE, order
from sandbox.demo.events.table import Explained, Scene
from sandbox.demo.messages.broker import DEAD_LETTERS, ORDERS
from sandbox.demo.trials import Trial, run
from tests.edge.events.consumer import Consumer, Marks
from tests.edge.events.market import BUNDLES, Market, issued
from tests.edge.events.trade import schema
from tests.edge.mounts import Mounts, workload
from troth.edge.events import opening
from troth.edge.events.bindings import kafka
from troth.edge.events.consumption.dead_letters import DeadLetters
from troth.edge.events.message import Message, Sealed
from troth.edge.events.rejection import Reason, Rejection

FORM = '{"properties":{"items":{"minItems":1,"type":"array"}},"required":["order","items"]}'


class Shelf:
    """Exchange without a broker: topics are lists."""

    binding: Literal["kafka", "nats"] = "kafka"

    def __init__(self, market: Market, got: Fulfilment) -> None:
        self.market, self.got = market, got
        self.consumer = Consumer(market, marks=Marks(), patience=0, attempts=ATTEMPTS)
        self.consumer.on_event = got.fulfil
        self.messages: list[Message] = []
        self.read = 0

    def order(self, data: bytes, **context: Any) -> Sealed:
        sealed = self.market.seal(data, type=TYPE, **context)
        self.publish(sealed)
        return sealed

    def publish(self, sealed: Sealed) -> None:
        self.messages.append(stored(sealed, ORDERS, len(self.messages)))

    def consume(self, count: int) -> None:
        while len(self.got.outcomes) < count:
            message = self.messages[len(self.got.outcomes)]
            self.got.consumed(self.consumer.consume(message))

    def stop(self) -> None:
        """Do nothing."""

    def reconnect(self) -> None:
        """Do nothing."""

    def dead_letter(self) -> Message:
        self.read += 1
        return stored(self.consumer.dead[self.read - 1], DEAD_LETTERS, self.read - 1)

    def close(self) -> None:
        """Do nothing."""


def stored(sealed: Sealed, topic: str, offset: int) -> Message:
    headers = kafka.headers(sealed)
    place: dict[str, Any] = {"partition": 0, "offset": offset, "stored_at": time.time()}
    return kafka.read(topic, [*headers], sealed.data, **place)


@pytest.fixture
def market(tmp_path: Path) -> Market:
    context = {"require": ["Actor", "Tenant"], "evidence": "Producer", "maxAge": 604800}
    return Market(tmp_path, topic=ORDERS, group=GROUP, context=context, schemas=[schema(FORM)])


@pytest.fixture
def scene(market: Market, tmp_path: Path) -> Scene:
    other = Mounts(tmp_path / "payments")
    spiffe_id = workload("payments")
    market.write(other, issued(spiffe_id), spiffe_id, BUNDLES, [])
    files = {CHECKOUT: market.checkout, FULFILMENT: market.fulfilment, PAYMENTS: other}
    parties = {place: Party(market.identity(each), tmp_path) for place, each in files.items()}
    got = Fulfilment()
    scene = Scene(Shelf(market, got), got, parties)
    assert wrong(table.accepted(scene)) == []
    return scene


def wrong(trials: Iterable[Trial]) -> list[str]:
    return [each.trial.action for each in run(trials) if each.is_wrong]


def test_forged_events_are_rejected_and_their_dead_letters_verified(scene: Scene) -> None:
    assert wrong(table.forgeries(scene)) == []
    assert wrong(table.failing(scene)) == []
    assert wrong(table.dead_letters(scene)) == []


@pytest.mark.parametrize(
    ("check", "action"),
    [
        ("producer", "seals as payments, with its key"),
        ("policy", "seals for another policy"),
        ("topic", "seals for prod.payments.v1"),
        ("context", "seals without a tenant"),
        ("time", "dates it back, as with a stolen old key"),
    ],
)
def test_consumer_that_omits_a_check_is_wrong(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, check: str, action: str
) -> None:
    checks = tuple(each for name, each in opening.CHECKS.items() if name != check)
    monkeypatch.setattr(opening, "_IN_ORDER", checks)
    assert wrong(table.forgeries(scene)) == [action]


def test_consumer_that_handles_copies_is_wrong(scene: Scene, market: Market) -> None:
    exchange = Shelf(market, scene.got)
    exchange.consumer = Consumer(market, patience=0, attempts=ATTEMPTS)
    exchange.consumer.on_event = scene.got.fulfil
    exchange.messages.append(stored(scene.genuine, ORDERS, 0))
    scene.exchange = exchange
    assert wrong(table.forgeries(scene)) == ["publishes the accepted order again"]


def test_policy_that_does_not_reach_the_consumer_is_wrong(scene: Scene, market: Market) -> None:
    queue = [scene.exchange.order(order("1010", "a book"), **CONTEXT)]
    assert wrong(table.revoked(scene, queue)) == ["order 1 of 1, published before"]
    assert wrong(table.expired(scene)) == ["publishes an order of 120 s ago"]
    market.consume(context={"require": ["Actor"], "evidence": "Producer", "maxAge": 60})
    assert wrong(table.expired(scene)) == []
    queue = [scene.exchange.order(order("1011", "a book"), **CONTEXT)]
    market.consume(producers=[])
    assert wrong(table.revoked(scene, queue)) == []


def test_dead_letter_with_another_reason_or_content_is_wrong(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    seal = DeadLetters.seal

    def sealing(change: Callable[[Message, Rejection], tuple[Message, Rejection]]) -> None:
        def careless(
            self: DeadLetters, message: Message, rejection: Rejection, **options: Any
        ) -> Sealed | None:
            return seal(self, *change(message, rejection), **options)

        monkeypatch.setattr(DeadLetters, "seal", careless)

    sealing(lambda message, _: (message, Rejection(Reason.MALFORMED, "another reason")))
    assert wrong(table.failing(scene)) == ["orders what is sold out"]
    sealing(lambda message, rejection: (replace(message, data=b"{}"), rejection))
    assert wrong(table.failing(scene)) == []  # the row shows only reason and place
    assert wrong(table.dead_letters(scene)) == [f"reads {DEAD_LETTERS}"]


@pytest.mark.parametrize(
    ("done", "is_wrong"),
    [
        (Explained(1, "valid dead letter\n ✗  producer  ProducerNotGranted\n ✗  topic"), False),
        (Explained(0, "valid dead letter\n ✗  producer  ProducerNotGranted\n ✗  topic"), True),
        (Explained(1, "valid dead letter\n ✓  producer\n ✗  topic  WrongTopic"), True),
        (Explained(2, "not a message"), True),
    ],
)
def test_explanation_must_name_what_is_wrong_now(
    scene: Scene, done: Explained, *, is_wrong: bool
) -> None:
    run(table.forgeries(scene))
    assert bool(wrong(table.explained(scene, lambda _: done))) is is_wrong
