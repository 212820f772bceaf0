"""The worker connects with the files of a Secret `<identity>-<broker>`, unchanged."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sandbox.brokers.kafka import KafkaServer
from tests.brokers.kafka.clients import administered
from tests.brokers.kafka.test_client_files import mounted
from tests.brokers.nats.stage import Stage
from tests.brokers.waiting import observed
from tests.patience import PATIENCE
from tests.review.desk import consumer, reviewed
from tests.review.kafka.stand import Stand as KafkaStand
from tests.review.nats.stand import LETTERS, RETRY, STREAM
from tests.review.nats.stand import Stand as NatsStand
from troth.brokers.nats.rules import SUBJECT, Operation, inbox_prefix
from troth.brokers.protocol import Batch, CredentialRequest
from troth.documents.identity.document import Messages
from troth.planning.steps.broker_credentials import CredentialChange
from troth.reconcile.apply.secrets.credential_data import changed_data, material
from troth.resources.messaging.broker_type import BrokerType
from troth.resources.references import Ref
from troth.review.brokers import BrokerUnavailableError, Redelivery
from troth.review.connecting import connect
from troth.trust.grants import Rule


def entry(**changed: Any) -> Messages:
    return Messages.model_validate(reviewed(**changed))


def directory(tmp_path: Path) -> Path:
    made = tmp_path / "credentials" / "shop.main"
    made.mkdir(parents=True)
    return made


async def test_kafka_is_reached(kafka_server: KafkaServer, mine: str, tmp_path: Path) -> None:
    stand = KafkaStand(kafka_server, mine, tmp_path)
    stand.make(stand.letters)
    request = CredentialRequest(
        Ref("shop", "main"),
        BrokerType.KAFKA,
        mine,
        (kafka_server.client_address,),
        kafka_server.authority.certificate.read_text(),
    )
    data = changed_data(CredentialChange.ISSUE, {}, request, datetime.now(UTC))
    rule = Rule(mine, "TOPIC", "LITERAL", stand.letters, "READ", host="*")
    broker = administered(kafka_server)
    held = (material(request.type, data, "current"),)
    assert await broker.apply(Batch(held, (rule,))) == ()
    await observed(broker, lambda seen: bool(seen.credentials) and rule in seen.rules)
    topic = connect(entry(letters={"topic": stand.letters}), tmp_path / "credentials")
    with pytest.raises(BrokerUnavailableError, match="credential cannot be read"):
        await topic.bounds()
    mounted(data, directory(tmp_path))
    async with asyncio.timeout(PATIENCE):
        assert await topic.bounds() == {0: (0, 0)}
        await topic.close()
    await broker.close()


async def test_nats_is_reached(nats: Stage, tmp_path: Path) -> None:
    stand = NatsStand(nats, tmp_path)
    await stand.open()
    request = CredentialRequest(
        Ref("shop", "main"),
        BrokerType.NATS,
        "reviewer",
        (nats.server.url.removeprefix("tls://"),),
        nats.server.ca(),
        account=nats.account.public,
    )
    data = changed_data(CredentialChange.ISSUE, {}, request, datetime.now(UTC))
    rules = (
        Rule("reviewer", SUBJECT, "", f"$JS.API.STREAM.INFO.{STREAM}", Operation.PUBLISH),
        Rule("reviewer", SUBJECT, "", RETRY, Operation.PUBLISH),
        Rule("reviewer", SUBJECT, "", f"{inbox_prefix('reviewer')}.>", Operation.SUBSCRIBE),
    )
    held = (material(request.type, data, "current"),)
    assert not await nats.broker.apply(Batch(held, rules))
    given = entry(
        type="nats",
        stream="ORDERS",
        letters={"topic": LETTERS, "stream": STREAM},
        consumers=[consumer(retry={"topic": RETRY})],
    )
    topic = connect(given, tmp_path / "credentials")
    with pytest.raises(BrokerUnavailableError, match="FileNotFoundError"):
        await topic.bounds()
    files = directory(tmp_path)
    mounted({**data, "ca.crt": nats.server.ca().encode()}, files)
    async with asyncio.timeout(PATIENCE):
        assert await topic.bounds() == {0: (1, 1)}
        # no stream stores the retry topic, so nothing acknowledges it
        assert await topic.redeliver([Redelivery("a", RETRY, (), b"")]) == [None]
        await topic.close()


def test_policy_of_nats_needs_a_stream(tmp_path: Path) -> None:
    with pytest.raises(BrokerUnavailableError, match=r"no deadLetter\.stream"):
        connect(entry(type="nats"), tmp_path)


def test_other_brokers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BrokerUnavailableError, match="rabbitmq"):
        connect(entry(type="rabbitmq"), tmp_path)
