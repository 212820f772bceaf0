"""A Kafka that is down, hangs or loses data: the status reports it, and Troth restores it later."""

import asyncio
from concurrent.futures import Future

from confluent_kafka.admin import ScramMechanism, UserScramCredentialDeletion

from tests.broker_builders import publisher
from tests.brokers.kafka.clients import bare
from tests.brokers.waiting import becomes
from tests.builders import identity
from tests.messaging import policy, producer
from tests.patience import PATIENCE
from tests.reconcile.brokers.at_work import MAIN
from tests.reconcile.brokers.kafka.stage import (
    CHECK,
    REFUSED,
    Stage,
    at_kafka,
    on_kafka,
    publishes,
    publishes_at_last,
)
from tests.reconcile.serving import Server
from troth.reconcile.brokers.work import BrokerWork
from troth.resources.references import Ref

MANY = 40
"""Publishers whose credentials Kafka gets in one batch."""


async def test_credential_lost_by_kafka_is_restored_and_reported(stage: Stage) -> None:
    """Kafka 4.1 to 4.4 may lose one at a restart after a deletion; see `brokers.kafka.driver`."""
    async with at_kafka(stage, stage.market()) as it:
        client = it.client(stage.checkout)
        await publishes_at_last(client, stage.topic)
        deletion = UserScramCredentialDeletion(client.principal, ScramMechanism.SCRAM_SHA_256)
        admin = bare(stage.server)
        (done,) = admin.alter_user_scram_credentials([deletion]).values()
        await asyncio.to_thread(done.result, PATIENCE)

        async def is_lost() -> bool:
            return await publishes(client, stage.topic) == REFUSED

        await becomes(is_lost)
        await it.later(CHECK)
        await publishes_at_last(client, stage.topic)
        assert it.server.reasons().count("Repaired") == 1
        assert it.condition_of("MessageBroker", MAIN, "Ready")[:2] == ("True", "InPlace")


async def test_changes_interrupted_by_a_kafka_crash_are_applied_by_the_next_copy(
    stage: Stage,
) -> None:
    """Kafka crashes during a batch and is still down when the next copy of the operator starts."""
    names = [f"publisher-{number}" for number in range(MANY)]
    market = stage.market(
        policy(
            "many",
            stage.home,
            topic={"name": stage.topic},
            producers=[producer(name) for name in names],
        ),
        *(publisher(name, "many", namespace=stage.home) for name in names),
    )
    server = Server(market)
    falling = asyncio.create_task(_fall_after_the_first_credential(stage))
    try:
        async with on_kafka(server, stage) as it:
            await falling
            await it.later(CHECK)
            assert it.fault == "Unreachable"
        async with on_kafka(server, stage) as it:
            assert it.fault == "Unreachable"
            stage.server.resume()
            await it.later(CHECK)
            assert it.condition_of("MessageBroker", MAIN, "Ready")[:2] == ("True", "InPlace")
            assert {state for *_, state, _ in it.grants(Ref(stage.home, "many"))} == {"InSync"}
            for name in (names[0], names[-1]):
                await publishes_at_last(it.client(Ref(stage.home, name)), stage.topic)
            assert {acl.principal for acl in stage.acls()} == {
                f"User:{stage.mine}{stage.home}.{name}"
                for name in (*names, "checkout", "fulfilment")
            }
    finally:
        falling.cancel()
        if not stage.server.runs:
            stage.server.resume()


async def _fall_after_the_first_credential(stage: Stage) -> None:
    admin = bare(stage.server)

    async def told() -> bool:
        asked = admin.describe_user_scram_credentials(request_timeout=PATIENCE)
        assert isinstance(asked, Future)  # with names there would be one future for each
        return any(name.startswith(stage.mine) for name in await asyncio.to_thread(asked.result))

    await becomes(told)
    stage.server.stop(grace=0)


async def test_hanging_kafka_times_out_and_delays_no_other_object(stage: Stage) -> None:
    async with at_kafka(stage, stage.market()) as it:
        work = it.running.engine.background
        assert isinstance(work, BrokerWork)
        await publishes_at_last(it.client(stage.checkout), stage.topic)
        stage.server.freeze()
        try:
            await it.running.clock.move_to(it.running.clock.now() + CHECK)
            await becomes(lambda: _is(work.busy))
            await it.running.put(identity("elsewhere", stage.home))
            assert work.busy
            elsewhere = it.condition_of("ServiceIdentity", Ref(stage.home, "elsewhere"), "Ready")
            assert elsewhere[0] == "True"
            await it.settle()
            assert it.fault == "Unreachable"
            (grant, *_) = it.grants(stage.orders)
            assert grant[3] == "BrokerUnreachable"
        finally:
            stage.server.wake()
        await it.later(CHECK)
        assert it.condition_of("MessageBroker", MAIN, "Ready")[:2] == ("True", "InPlace")
        await publishes_at_last(it.client(stage.checkout), stage.topic)


async def _is(value: bool) -> bool:
    await asyncio.sleep(0)
    return value
