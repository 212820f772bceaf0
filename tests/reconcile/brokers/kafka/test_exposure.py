"""The operator writes what a Kafka shows of its security, and rules find what is wrong there."""

import asyncio

from confluent_kafka.admin import AclBinding, AclBindingFilter

from sandbox.brokers.kafka import KafkaServer
from tests.audit.broker_scene import reasons
from tests.brokers.kafka.clients import bare
from tests.reconcile.brokers.at_work import MAIN
from tests.reconcile.brokers.kafka.stage import CHECK, Stage, at_kafka
from tests.reconcile.brokers.test_exposure import judged, stored
from troth.audit.rules.brokers import foreign_rights, super_user, wildcard_rights
from troth.audit.rules.credentials import shared_broker_login

EVERY_TOPIC = ("TOPIC", "*", "LITERAL", "User:legacy", "*", "READ", "ALLOW")


async def test_foreign_wildcard_is_found_until_it_is_removed(
    stage: Stage, kafka_server: KafkaServer
) -> None:
    admin = bare(kafka_server)
    async with at_kafka(stage, stage.market()) as it:
        assert not judged(wildcard_rights.RULE, it).findings
        try:
            for made in admin.create_acls([AclBinding(*EVERY_TOPIC)]).values():
                await asyncio.to_thread(made.result)
            await it.later(2 * CHECK)
            (finding,) = judged(wildcard_rights.RULE, it).findings
            assert finding.message.startswith("legacy may consume on every topic")
            assert stage.topic in finding.evidence[0].shows
            assert not judged(foreign_rights.RULE, it).findings
        finally:
            for gone in admin.delete_acls([AclBindingFilter(*EVERY_TOPIC)]).values():
                await asyncio.to_thread(gone.result)
        await it.later(2 * CHECK)
        assert not judged(wildcard_rights.RULE, it).findings


async def test_what_kafka_hides_is_unseen_and_its_accepted_super_users_are_no_finding(
    stage: Stage,
) -> None:
    """The server sets allow.everyone.if.no.acl.found, and the owner lists super.users."""
    async with at_kafka(stage, stage.market()) as it:
        assert not stored(it)["status"]["observed"].get("superUsers")
        assert not judged(super_user.RULE, it).findings
        ((where, why),) = reasons(judged(foreign_rights.RULE, it))
        assert where == f"broker {MAIN}"
        assert "allow.everyone.if.no.acl.found" in why
        ((_, why),) = reasons(judged(shared_broker_login.RULE, it))
        assert "no principals" in why
