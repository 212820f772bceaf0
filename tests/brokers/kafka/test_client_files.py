"""Client libraries accept the files of a credential unchanged."""

import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest
from confluent_kafka import KafkaError, Producer

from sandbox.brokers.kafka import KafkaServer
from sandbox.brokers.kafka_jars import ensure_kafka
from tests.brokers.kafka.clients import make_topics
from tests.brokers.waiting import observed
from tests.patience import PATIENCE
from troth.brokers.kafka.driver import Kafka
from troth.brokers.kafka.rules import rules
from troth.brokers.protocol import Batch, CredentialRequest
from troth.planning.steps.broker_credentials import CredentialChange
from troth.reconcile.apply.secrets.credential_data import changed_data, login, material
from troth.resources.messaging.broker_type import BrokerType
from troth.resources.references import Ref
from troth.trust.grants import Action, Grant, Slot, Topic

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
PUBLISH = Path(__file__).parent / "Publish.java"


def mounted(data: Mapping[str, bytes], directory: Path) -> None:
    """Write the Secret into a directory, as a pod's mount shows it."""
    for name, content in data.items():
        (directory / name).write_bytes(content)


def publish_by_librdkafka(directory: Path, topic: str, monkeypatch: pytest.MonkeyPatch) -> str:
    lines = (directory / "client.properties").read_text().splitlines()
    configuration = dict(line.split("=", 1) for line in lines)
    outcomes: list[KafkaError | None] = []
    monkeypatch.chdir(directory)
    producer = Producer({**configuration, "message.timeout.ms": int(PATIENCE * 1000)})
    producer.produce(topic, b"hello", on_delivery=lambda error, _: outcomes.append(error))
    producer.flush(PATIENCE)
    return "" if outcomes == [None] else str(outcomes)


def publish_by_java(directory: Path, topic: str) -> str:
    done = subprocess.run(
        ["java", "-cp", f"{ensure_kafka()}/*", PUBLISH, directory / "java.properties", topic],
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE,
        check=False,
    )
    return "" if done.returncode == 0 else done.stdout + done.stderr


async def test_librdkafka_and_java_publish_with_the_files_of_either_slot(
    server: KafkaServer,
    kafka: Kafka,
    mine: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    request = CredentialRequest(
        Ref("messaging", "main"),
        BrokerType.KAFKA,
        mine,
        (server.client_address,),
        f"# its roots, as someone noted: é\n{server.authority.certificate.read_text()}",
    )
    topic = f"{mine}orders"
    make_topics(server, [topic])
    first = changed_data(CredentialChange.ISSUE, {}, request, NOW)
    prepared = changed_data(CredentialChange.PREPARE, first, request, NOW)
    second = changed_data(CredentialChange.ACTIVATE, prepared, request, NOW)
    told = (material(request.type, prepared, "current"), material(request.type, prepared, "next"))
    additions = rules([Grant(mine, Action.PUBLISH, Topic(topic))])
    assert await kafka.apply(Batch(told, tuple(additions))) == ()
    await observed(
        kafka,
        lambda seen: (
            {(mine, slot) for slot in Slot} <= seen.credentials and additions <= seen.rules
        ),
    )

    for data in (first, second):
        mounted(data, tmp_path)
        assert publish_by_librdkafka(tmp_path, topic, monkeypatch) == ""
    output = publish_by_java(tmp_path, topic)
    assert output == ""
    assert login(request.type, second, "current").secret not in output
