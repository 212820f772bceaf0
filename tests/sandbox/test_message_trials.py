"""What the demo calls right and wrong of messages: by itself, and of a real NATS."""

import asyncio
import json
import ssl
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sandbox.demo.broker_nats import NatsOnStage, nats
from sandbox.demo.cast import CHECKOUT, FULFILMENT
from sandbox.demo.message_ending import WITHIN, Ending
from sandbox.demo.message_trials import (
    BROKEN,
    GROUP,
    ORDER,
    Deed,
    Done,
    declared,
    misjudged,
    undeclared,
)
from sandbox.demo.messaging import DEAD_LETTERS, ORDERS, OTHERS_GROUP, PAYMENTS, Answer, Refusal
from sandbox.demo.shop import Place
from troth.brokers.credentials import material, turned
from troth.brokers.nats.driver import Admin, NatsBroker
from troth.brokers.nats.rules import rules
from troth.brokers.protocol import Batch
from troth.planning.steps.broker_credentials import CredentialRequest, Turn
from troth.resources.messaging.message_broker import BrokerType
from troth.resources.references import Ref
from troth.trust.grants import Action, Grant, Topic

REFUSED = Answer("permissions violation for publish to", refused=True)
PUBLISHES = Deed(FULFILMENT, "publishes", Refusal.PUBLISH)
CONSUMES = Deed(FULFILMENT, "consumes", message=ORDER)


def test_a_refusal_counts_only_with_the_words_that_it_has_to_have() -> None:
    assert not Done(PUBLISHES, REFUSED, "permissions violation").is_wrong
    assert Done(PUBLISHES, REFUSED, "authorization violation").is_wrong
    assert Done(PUBLISHES, Answer("permissions violation"), "permissions violation").is_wrong


def test_what_is_declared_must_be_done_and_bring_what_was_published() -> None:
    assert not Done(CONSUMES, Answer(ORDER)).is_wrong
    assert Done(CONSUMES, Answer(BROKEN)).is_wrong
    assert Done(CONSUMES, Answer(ORDER, refused=True)).is_wrong


@pytest.mark.parametrize(
    ("seconds", "login", "left", "wrong"),
    [
        (0.2, REFUSED, (), False),
        (WITHIN + 1, REFUSED, (), True),
        (float("inf"), REFUSED, (), True),
        (0.2, Answer("let in"), (), True),
        (0.2, REFUSED, ("topicpolicy/orders",), True),
    ],
)
def test_a_policy_has_ended_when_nothing_of_it_holds(
    seconds: float, login: Answer, left: tuple[str, ...], *, wrong: bool
) -> None:
    done = Done(Deed(CHECKOUT, "logs in", Refusal.LOGIN), login, "permissions violation")
    assert Ending(seconds, REFUSED, "connection is cut", done, left).is_wrong is wrong


SCHEMA = json.dumps({"required": ["items"]})
TOLD = {"action": "Consume", "schema": SCHEMA, "deadLetter": {"topic": DEAD_LETTERS}}


@pytest.mark.parametrize(
    ("messages", "wrong"),
    [
        ([TOLD], False),
        ([], True),
        ([TOLD | {"schema": "true"}], True),
        ([TOLD | {"deadLetter": {"topic": PAYMENTS}}], True),
    ],
)
def test_fulfilment_must_be_told_what_an_order_looks_like(
    tmp_path: Path, messages: list[dict[str, object]], *, wrong: bool
) -> None:
    (tmp_path / "identity.json").write_text(json.dumps({"messages": messages}))
    assert bool(misjudged(tmp_path)) is wrong


@pytest.fixture
def stage() -> Iterator[NatsOnStage]:
    with nats() as stage:
        yield stage


@pytest.fixture
def files(stage: NatsOnStage, tmp_path: Path) -> dict[Place, Path]:
    """Credentials with which nobody may do anything yet."""
    made = {place: tmp_path / f"{place.name}-main" for place in (CHECKOUT, FULFILMENT)}
    for place, directory in made.items():
        directory.mkdir()
        for name, data in turned(Turn.ISSUE, {}, request(stage, place), datetime.now(UTC)).items():
            (directory / name).write_bytes(data)
    return made


def request(stage: NatsOnStage, place: Place) -> CredentialRequest:
    spec = stage.described["nats"]
    return CredentialRequest(
        *(Ref("messaging", "main"), BrokerType.NATS, place.name, tuple(spec["servers"])),
        authorities=stage.secrets["nats-ca"]["ca.crt"],
        account=spec["account"],
    )


def publishes(who: Place, topic: str) -> Grant:
    return Grant(who.name, Action.PUBLISH, Topic(topic))


def consumes(who: Place, durable: str) -> Grant:
    return Grant(who.name, Action.CONSUME, Topic(ORDERS), durable, "ORDERS")


DECLARED = (
    publishes(CHECKOUT, ORDERS),
    consumes(FULFILMENT, GROUP),
    publishes(FULFILMENT, DEAD_LETTERS),
)


def grant(stage: NatsOnStage, files: dict[Place, Path], *grants: Grant) -> None:
    """Have the broker grant just this."""
    spec, secret = stage.described["nats"], stage.secrets["nats-admin"]
    admin = Admin(spec["account"], secret["system.creds"], secret["operator.nk"])
    tls = ssl.create_default_context(cadata=stage.secrets["nats-ca"]["ca.crt"])
    told = tuple(
        material({each.name: each.read_bytes() for each in directory.iterdir()}, "current")
        for directory in files.values()
    )

    async def apply() -> None:
        broker = NatsBroker([f"tls://{server}" for server in spec["servers"]], admin, tls)
        try:
            before = await broker.observe()
            batch = Batch(told, tuple(rules(grants)), tuple(before.rules - rules(grants)))
            assert not await broker.apply(batch)
        finally:
            await broker.close()

    asyncio.run(apply())


def wrong(each: Iterable[Done]) -> list[str]:
    return [f"{done.deed.service.name} {done.deed.about}" for done in each if done.is_wrong]


def test_a_broker_that_grants_what_is_declared_is_right(
    stage: NatsOnStage, files: dict[Place, Path]
) -> None:
    grant(stage, files, *DECLARED)
    services = {place: stage.enter(directory) for place, directory in files.items()}
    assert wrong(declared(services)) == []
    assert wrong(undeclared(stage, services, files)) == []


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (publishes(FULFILMENT, ORDERS), f"fulfilment publishes to {ORDERS}, which it consumes"),
        (publishes(CHECKOUT, PAYMENTS), f"checkout publishes to {PAYMENTS}, undeclared"),
        (consumes(CHECKOUT, GROUP), f"checkout consumes {ORDERS} as {GROUP}"),
        (consumes(FULFILMENT, OTHERS_GROUP), f"fulfilment consumes {ORDERS} as {OTHERS_GROUP}"),
    ],
)
def test_a_broker_that_grants_more_is_found_out(
    stage: NatsOnStage, files: dict[Place, Path], more: Grant, told: str
) -> None:
    grant(stage, files, *DECLARED, more)
    services = {place: stage.enter(directory) for place, directory in files.items()}
    services[CHECKOUT].publish(ORDERS, ORDER)  # for whoever may consume
    assert wrong(undeclared(stage, services, files)) == [told]


def test_a_broker_that_grants_less_is_found_out(
    stage: NatsOnStage, files: dict[Place, Path]
) -> None:
    grant(stage, files, *DECLARED[1:])
    services = {place: stage.enter(directory) for place, directory in files.items()}
    publishing = declared(services)
    assert [next(publishing).is_wrong for _ in range(2)] == [True, True]
