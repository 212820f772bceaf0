"""The demo detects wrong outcomes of messages, without a broker and at a real NATS."""

import asyncio
import ssl
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar, cast

import pytest

from sandbox.demo.cast import CHECKOUT, FULFILMENT
from sandbox.demo.messages import table
from sandbox.demo.messages.broker import (
    DEAD_LETTERS,
    ORDERS,
    OTHER_GROUP,
    PAYMENTS,
    Answer,
    Denial,
)
from sandbox.demo.messages.nats import NatsBroker, nats
from sandbox.demo.messages.table import (
    GROUP,
    ORDER,
    accepted,
    declared,
    deleted,
    rejected,
    undeclared,
)
from sandbox.demo.shop import Place
from sandbox.demo.trials import Trial, run
from troth.brokers.nats.driver import Admin
from troth.brokers.nats.driver import NatsBroker as Driver
from troth.brokers.nats.rules import rules
from troth.brokers.protocol import Batch, CredentialRequest
from troth.planning.steps.broker_credentials import CredentialChange
from troth.reconcile.apply.secrets.credential_data import changed_data, material
from troth.resources.messaging.broker_type import BrokerType
from troth.resources.references import Ref
from troth.trust.grants import Action, Grant, Topic

DENIED = Answer("permissions violation for publish to", rejected=True)


def wrong(trials: Iterable[Trial]) -> list[str]:
    return [f"{each.trial.actor} {each.trial.action}" for each in run(trials) if each.is_wrong]


def test_rejection_is_right_only_with_the_expected_words() -> None:
    def trial(pattern: str, answer: Answer) -> Trial:
        return rejected(FULFILMENT, "publishes", pattern, lambda: answer)

    assert not wrong([trial("permissions violation", DENIED)])
    assert wrong([trial("authorization violation", DENIED)])
    assert wrong([trial("permissions violation", Answer("permissions violation"))])


def test_consumer_must_receive_the_published_message() -> None:
    def trial(answer: Answer) -> Trial:
        return accepted(FULFILMENT, "consumes", lambda: answer, ORDER)

    assert not wrong([trial(Answer(ORDER))])
    assert wrong([trial(Answer("{}"))])
    assert wrong([trial(Answer(ORDER, rejected=True))])


def test_deleted_policy_is_wrong_while_any_part_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    for limit in ("WITHIN", "GONE_WITHIN"):
        monkeypatch.setattr(table, limit, 0.05)
    deletion = Deletion()
    assert wrong(deletion.trials()) == []
    for part, fault in {
        "open": "checkout uses its open connection",
        "policy": "kubectl get topicpolicy orders --namespace shop",
        "secret": "kubectl get secret checkout-main --namespace shop",
        "login": "checkout logs in again",
    }.items():
        assert wrong(replace(deletion, left=part).trials()) == [fault]


@dataclass(frozen=True)
class Deletion:
    """A deleted policy of which one part may be left."""

    left: str = ""
    denials: ClassVar[dict[Denial, str]] = {Denial.LOGIN: "permissions violation"}

    def trials(self) -> Iterator[Trial]:
        cluster = SimpleNamespace(sandbox=self)
        return deleted(cast("Any", cluster), cast("Any", self), cast("Any", self), Path())

    def kubectl(self, _get: str, kind: str, *_: str) -> str:
        return f"{kind}/left" if self.left and self.left in kind else ""

    def use_connection(self) -> Answer:
        return Answer("open") if self.left == "open" else DENIED

    def log_in(self, _files: Path) -> Answer:
        return Answer("accepted") if self.left == "login" else DENIED


@pytest.fixture
def broker() -> Iterator[NatsBroker]:
    with nats() as broker:
        yield broker


@pytest.fixture
def files(broker: NatsBroker, tmp_path: Path) -> dict[Place, Path]:
    """Return the credentials files of principals without grants."""
    made = {place: tmp_path / f"{place.name}-main" for place in (CHECKOUT, FULFILMENT)}
    for place, directory in made.items():
        directory.mkdir()
        for name, data in changed_data(
            CredentialChange.ISSUE, {}, request(broker, place), datetime.now(UTC)
        ).items():
            (directory / name).write_bytes(data)
    return made


def request(broker: NatsBroker, place: Place) -> CredentialRequest:
    spec = broker.spec["nats"]
    return CredentialRequest(
        *(Ref("messaging", "main"), BrokerType.NATS, place.name, tuple(spec["servers"])),
        authorities=broker.secrets["nats-ca"]["ca.crt"],
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


def grant(broker: NatsBroker, files: dict[Place, Path], *grants: Grant) -> None:
    """Replace all grants at the broker."""
    spec, secret = broker.spec["nats"], broker.secrets["nats-admin"]
    admin = Admin(spec["account"], spec["operator"], secret["system.creds"], secret["operator.nk"])
    tls = ssl.create_default_context(cadata=broker.secrets["nats-ca"]["ca.crt"])
    credentials = tuple(
        material(
            BrokerType.NATS,
            {each.name: each.read_bytes() for each in directory.iterdir()},
            "current",
        )
        for directory in files.values()
    )

    async def apply() -> None:
        driver = Driver([f"tls://{server}" for server in spec["servers"]], admin, tls)
        try:
            before = await driver.observe()
            batch = Batch(credentials, tuple(rules(grants)), tuple(before.rules - rules(grants)))
            assert not await driver.apply(batch)
        finally:
            await driver.close()

    asyncio.run(apply())


def test_broker_with_the_declared_grants_is_right(
    broker: NatsBroker, files: dict[Place, Path]
) -> None:
    grant(broker, files, *DECLARED)
    services = {place: broker.connect(directory) for place, directory in files.items()}
    assert wrong(declared(services)) == []
    assert wrong(undeclared(broker, services, files)) == []


@pytest.mark.parametrize(
    ("more", "fault"),
    [
        (publishes(FULFILMENT, ORDERS), f"fulfilment publishes to {ORDERS}"),
        (publishes(CHECKOUT, PAYMENTS), f"checkout publishes to {PAYMENTS}"),
        (consumes(CHECKOUT, GROUP), f"checkout consumes {ORDERS} as {GROUP}"),
        (consumes(FULFILMENT, OTHER_GROUP), f"fulfilment consumes {ORDERS} as {OTHER_GROUP}"),
    ],
)
def test_broker_that_grants_more_is_wrong(
    broker: NatsBroker, files: dict[Place, Path], more: Grant, fault: str
) -> None:
    grant(broker, files, *DECLARED, more)
    services = {place: broker.connect(directory) for place, directory in files.items()}
    services[CHECKOUT].publish(ORDERS, ORDER)  # a message for a consumer
    assert wrong(undeclared(broker, services, files)) == [fault]


def test_broker_that_grants_less_is_wrong(broker: NatsBroker, files: dict[Place, Path]) -> None:
    grant(broker, files, *DECLARED[1:])
    services = {place: broker.connect(directory) for place, directory in files.items()}
    publication = islice(declared(services), 1)
    assert wrong(publication) == [f"checkout publishes an order to {ORDERS}"]
