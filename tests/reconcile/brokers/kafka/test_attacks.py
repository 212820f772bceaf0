"""Attacks by an admitted team on the groups of others, at a real Kafka."""

from sandbox.brokers.kafka import KafkaServer
from tests.brokers.kafka.clients import DENIED, DONE, make_topics
from tests.messaging import consumer
from tests.reconcile.brokers.at_work import MAIN
from tests.reconcile.brokers.kafka.stage import Stage, at_kafka, consumes
from troth.world.index.brokers import credential_ref


async def test_identity_cannot_join_a_group_that_the_broker_does_not_own(
    stage: Stage, kafka_server: KafkaServer
) -> None:
    """Kafka joins groups and topics freely: a member moves the offsets of all that it reads."""
    foreign = f"x{stage.mine}billing"
    make_topics(kafka_server, [f"{stage.mine}own"])
    mine = stage.policy("own", {"name": f"{stage.mine}own"}, group=foreign)
    manifests = stage.market()
    mine["spec"]["consumers"].append(consumer("fulfilment", f"{stage.mine}own"))
    named = [each for each in manifests if each["metadata"]["name"] == "fulfilment"]
    named[0]["spec"]["consumes"].append({"policy": {"name": "own"}})
    async with at_kafka(stage, [*manifests, mine]) as it:
        client = it.client(stage.fulfilment)
        assert await consumes(client, f"{stage.mine}own", f"{stage.mine}own") == DONE
        assert await consumes(client, f"{stage.mine}own", foreign) in DENIED
        assert ("Secret", credential_ref(stage.fulfilment, MAIN)) in it.server.objects
