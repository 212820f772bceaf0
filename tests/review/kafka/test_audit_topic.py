"""The audit log on a topic of Kafka, by the credential files that the operator writes."""

from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer

from tests.edge.events.trade import POLICY
from tests.patience import PATIENCE
from tests.review.kafka.stand import Stand
from tests.review.trail.events import Entries
from troth.review.brokers import BrokerUnavailableError
from troth.review.kafka import publishing
from troth.review.trail.topic import AuditTopic


def credentials(stand: Stand, path: Path) -> Path:
    """Return a folder with the credential of an administrator at the broker shop/main."""
    folder = path / "shop.main"
    folder.mkdir()
    properties = stand.configuration()
    for name in [each for each in properties if each.endswith(".pem")]:
        file = folder / ("ca.crt" if name == "ssl.ca.pem" else name)
        file.write_text(properties.pop(name))
        properties[name.replace(".pem", ".location")] = str(file)
    lines = (f"{name}={value}\n" for name, value in properties.items())
    (folder / "client.properties").write_text("".join(lines))
    return path


def stored(stand: Stand, topic: str, number: int) -> list[tuple[Any, int | None]]:
    consumer = Consumer(
        {**stand.configuration(), "group.id": topic, "auto.offset.reset": "earliest"}
    )
    consumer.subscribe([topic])
    found = consumer.consume(number, PATIENCE)
    consumer.close()
    return [(dict(each.headers() or [])["ce_id"], each.partition()) for each in found]


async def test_entries_are_stored_in_their_order(stand: Stand, tmp_path: Path) -> None:
    topic = f"{stand.letters}.audit"
    stand.make(topic, partitions=3)
    entries = Entries(stand.market, tmp_path, topic)
    events = AuditTopic(entries.identity, POLICY, credentials(stand, tmp_path))
    for number in range(20):
        await events.publish(entries.sealed(number))
    await events.close()
    found = stored(stand, topic, 20)
    assert found == [(f"log-{number}".encode(), 0) for number in range(20)]


@pytest.mark.long
async def test_topic_that_does_not_exist_is_a_fault_that_may_end(
    stand: Stand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = f"{stand.letters}.audit"
    entries = Entries(stand.market, tmp_path, topic)
    events = AuditTopic(entries.identity, POLICY, credentials(stand, tmp_path))
    with monkeypatch.context() as absent:
        absent.setitem(publishing._LIMITS, "message.timeout.ms", 1000)
        with pytest.raises(BrokerUnavailableError):
            await events.publish(entries.sealed(1))
    stand.make(topic)
    await events.publish(entries.sealed(1))
    await events.close()
    assert len(stored(stand, topic, 1)) == 1


async def test_missing_credential_is_a_fault(stand: Stand, tmp_path: Path) -> None:
    entries = Entries(stand.market, tmp_path, "audit")
    events = AuditTopic(entries.identity, POLICY, tmp_path)
    with pytest.raises(BrokerUnavailableError, match="credential cannot be read"):
        await events.publish(entries.sealed(1))
