"""A batch of several requests ends when the lease is lost, and errors say what is known."""

import asyncio
import uuid
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient

from sandbox.brokers.kafka import KafkaServer
from tests.brokers.kafka.clients import access
from tests.brokers.kafka.test_outages import silent
from tests.brokers.waiting import becomes
from tests.patience import PATIENCE
from troth.brokers.errors import BrokerError
from troth.brokers.kafka import driver
from troth.brokers.kafka.client import Client
from troth.brokers.kafka.driver import Kafka
from troth.brokers.protocol import Batch, Credential
from troth.reconcile.runtime.lease_fence import LeaseLost
from troth.trust.grants import Rule, Slot

PIECES = 8


async def test_batch_ends_before_the_first_request_without_the_lease(
    server: KafkaServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[Mapping[str, Future[Any]]] = []
    alter = driver._alter

    def recorded(*given: Any) -> Mapping[str, Future[Any]]:
        sent.append(alter(*given))
        return sent[-1]

    def permit() -> None:
        if len(sent) == 2 and all(each.done() for each in sent[1].values()):
            raise LeaseLost

    monkeypatch.setattr(driver, "_alter", recorded)
    monkeypatch.setattr(driver, "CREDENTIALS_AT_ONCE", 1)
    prefix = f"fenced-{uuid.uuid4().hex[:8]}"
    users = [f"{prefix}-{number}" for number in range(PIECES)]
    rule = Rule(users[0], "TOPIC", "LITERAL", prefix, "WRITE", host="*")
    broker = Kafka(access(server), permit=permit)
    batch = Batch(tuple(Credential(user, Slot.FIRST, "password") for user in users), (rule,))
    try:
        with pytest.raises(LeaseLost):
            await broker.apply(batch)
        assert len(sent) == 2

        async def written() -> bool:
            seen = await broker.observe()
            assert rule not in seen.rules
            return {user for user, _ in seen.credentials if user in users} == set(users[:2])

        await becomes(written)
    finally:
        await broker.close()


async def test_request_that_waits_for_its_answer_is_dropped_without_the_lease(
    server: KafkaServer,
) -> None:
    """librdkafka may not have sent it yet, and would send it within its timeout."""
    lost = asyncio.Event()

    def permit() -> None:
        if lost.is_set():
            raise LeaseLost

    with silent() as listening:
        port = listening.getsockname()[1]
        nobody = replace(access(server), servers=(f"127.0.0.1:{port}",))
        broker = Kafka(nobody, timeout=600, permit=permit)
        asking = asyncio.create_task(broker.apply(Batch((Credential("a", Slot.FIRST, "b"),))))
        connection, _ = await asyncio.get_running_loop().sock_accept(listening)
        lost.set()
        with connection:
            with pytest.raises(LeaseLost):
                await asyncio.wait_for(asking, PATIENCE)
            await broker.close()


async def test_close_during_a_request_does_not_claim_that_it_was_not_sent(
    server: KafkaServer,
) -> None:
    with silent() as listening:
        port = listening.getsockname()[1]
        broker = Kafka(replace(access(server), servers=(f"127.0.0.1:{port}",)), timeout=600)
        asking = asyncio.create_task(broker.apply(Batch((Credential("a", Slot.FIRST, "b"),))))
        connection, _ = await asyncio.get_running_loop().sock_accept(listening)
        with connection:
            await broker.close()
            with pytest.raises(BrokerError, match="unknown whether the request took effect"):
                await asyncio.wait_for(asking, PATIENCE)


def test_exception_of_the_permit_does_not_hold_the_connection(server: KafkaServer) -> None:
    def permit() -> None:
        raise LeaseLost

    with pytest.raises(LeaseLost) as raised:
        Client(access(server), 1.0).ask("ask nothing", lambda *_: {}, (), permit)
    held = [value for each in raised.traceback for value in each.frame.f_locals.values()]
    assert not any(isinstance(each, AdminClient) for each in held)
