"""Attacks by an admitted team on the groups of others, at a real Kafka."""

import asyncio

from confluent_kafka.admin import AclBinding, AclBindingFilter

from sandbox.brokers.kafka import KafkaServer
from tests.brokers.kafka.clients import DENIED, DONE, bare, make_topics
from tests.changed_manifests import changed
from tests.messaging import consumer
from tests.reconcile.brokers.at_work import MAIN
from tests.reconcile.brokers.kafka.stage import CHECK, Stage, at_kafka, consumes
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


async def test_prefix_that_is_open_to_everybody_makes_the_policy_not_exclusive(
    stage: Stage, kafka_server: KafkaServer
) -> None:
    opened = ("TOPIC", stage.mine, "PREFIXED", "User:*", "*", "WRITE", "ALLOW")
    admin = bare(kafka_server)
    async with at_kafka(stage, stage.market()) as it:
        assert it.condition_of("TopicPolicy", stage.orders, "Exclusive")[0] == "True"
        try:
            for made in admin.create_acls([AclBinding(*opened)]).values():
                await asyncio.to_thread(made.result)
            await it.later(CHECK)
            status, reason, message = it.condition_of("TopicPolicy", stage.orders, "Exclusive")
            assert (status, reason) == ("False", "ForeignAccess")
            assert message.startswith("every principal (*) may publish")
            assert it.condition_of("TopicPolicy", stage.orders, "Ready")[1] == "ForeignAccess"
            await it.later(CHECK)
            assert [each for each in stage.acls() if each.principal == "User:*"], "never removed"
        finally:
            for gone in admin.delete_acls([AclBindingFilter(*opened)]).values():
                await asyncio.to_thread(gone.result)
        await it.later(CHECK)
        assert it.condition_of("TopicPolicy", stage.orders, "Ready")[:2] == ("True", "InPlace")


async def test_super_users_are_named_unless_the_owner_lists_them(stage: Stage) -> None:
    unlisted = changed(stage.broker(), "spec.administrators", [])
    async with at_kafka(stage, stage.market(unlisted)) as it:
        status, reason, message = it.condition_of("TopicPolicy", stage.orders, "Exclusive")
        assert (status, reason) == ("False", "ForeignAccess")
        assert message.startswith("super.users may publish and super.users may consume")
