"""A team's declarations about a topic on a real Kafka: granted, denied, revoked."""

import asyncio
from dataclasses import replace

from tests.broker_builders import publisher, subscriber
from tests.brokers.kafka.clients import DENIED, DONE
from tests.brokers.kafka.serving import PREFIX
from tests.builders import domain, owned, rotation, stamp
from tests.builders import secret as built_secret
from tests.pki import builders as pki
from tests.reconcile.brokers.at_work import MAIN
from tests.reconcile.brokers.kafka.stage import (
    CHECK,
    REFUSED,
    Stage,
    at_kafka,
    consumes,
    ends,
    publishes,
    publishes_at_last,
)
from troth.pki.certificates.authorities import SigningAuthority
from troth.pki.keys.private import private_key_pem
from troth.resources.references import Ref
from troth.world.index.brokers import credential_ref


async def test_declared_access_works_and_other_access_is_denied(stage: Stage) -> None:
    async with at_kafka(stage, stage.market()) as it:
        assert it.condition_of("MessageBroker", MAIN, "Ready")[:2] == ("True", "InPlace")
        assert it.condition_of("TopicPolicy", stage.orders, "Ready")[:2] == ("True", "InPlace")
        publisher, consumer = it.client(stage.checkout), it.client(stage.fulfilment)
        await publishes_at_last(publisher, stage.topic)
        taken, *denied = await asyncio.gather(
            consumes(consumer, stage.topic, stage.group),
            consumes(consumer, stage.topic, f"{stage.group}-2"),
            consumes(publisher, stage.topic, stage.group),
            publishes(consumer, stage.topic),
            publishes(publisher, f"{stage.topic}-2"),
        )
        assert taken == DONE
        # Kafka does not tell a client whether a topic exists that it may not describe
        assert set(denied) <= DENIED
        wrong = replace(publisher, password="guessed")
        assert await publishes(wrong, stage.topic) == REFUSED


async def test_deleted_identity_is_denied_and_cannot_log_in_again(stage: Stage) -> None:
    """The open connection lasts until it must log in again; its grants end before that."""
    async with at_kafka(stage, stage.market()) as it:
        client = it.client(stage.checkout)
        connected = client.producer()
        await publishes_at_last(connected, stage.topic)
        await it.delete("ServiceIdentity", stage.checkout)
        await ends(connected, stage.topic)
        assert await ends(replace(client), stage.topic) == REFUSED
        assert ("Secret", credential_ref(stage.checkout, MAIN)) not in it.server.objects
        left = it.client(stage.fulfilment)
        assert await consumes(left, stage.topic, stage.group) == DONE
        assert {acl.principal for acl in stage.acls()} == {f"User:{left.principal}"}


async def test_deleted_policy_revokes_its_grants_and_credentials(stage: Stage) -> None:
    async with at_kafka(stage, stage.market()) as it:
        client = it.client(stage.checkout)
        await publishes_at_last(client, stage.topic)
        await it.delete("TopicPolicy", stage.orders)
        assert ("TopicPolicy", stage.orders) not in it.server.objects
        assert await ends(client, stage.topic) == REFUSED
        assert stage.acls() == []


async def test_both_credentials_work_during_a_rotation(
    stage: Stage,
) -> None:
    asked, overlapped = Ref(stage.home, "checkout-rotation"), False
    async with at_kafka(stage, stage.market()) as it:
        old = it.client(stage.checkout)
        await publishes_at_last(old, stage.topic)
        await it.later(CHECK)
        at = stamp(it.running.clock.now())
        await it.put(rotation(target="checkout", namespace=stage.home, requestedAt=at))
        for _ in range(8):
            phase = it.server.objects["CredentialRotation", asked]["status"]["phase"]
            if phase == "Idle":
                break
            new = it.client(stage.checkout)
            if new.slot != old.slot and not overlapped:
                overlapped = True
                both = await asyncio.gather(*(publishes(each, stage.topic) for each in (old, new)))
                assert both == [DONE, DONE]
            await it.later(CHECK)
        assert overlapped
        assert phase == "Idle"
        assert await ends(old, stage.topic) == REFUSED
        assert await publishes(it.client(stage.checkout), stage.topic) == DONE


async def test_identity_with_a_certificate_has_its_grants_and_no_other_secret(
    stage: Stage, kafka_authority: SigningAuthority
) -> None:
    root = built_secret(
        "production-authority",
        tls_crt=b"".join(kafka_authority.authority.anchors),
        tls_key=private_key_pem(kafka_authority.private_key),
    )
    market = stage.market(
        domain(domain=pki.DOMAIN),
        owned(root, "TrustDomain", "production"),
        stage.broker(principals=PREFIX, at=stage.server.identity_address, clients="MTLS"),
    )
    async with at_kafka(stage, market, now=pki.NOW) as it:
        assert it.condition_of("TopicPolicy", stage.orders, "Ready")[:2] == ("True", "InPlace")
        assert ("Secret", credential_ref(stage.checkout, MAIN)) not in it.server.objects
        publisher, consumer = it.holder(stage.checkout), it.holder(stage.fulfilment)
        await publishes_at_last(publisher, stage.topic)
        taken, denied = await asyncio.gather(
            consumes(consumer, stage.topic, stage.group), publishes(consumer, stage.topic)
        )
        assert taken == DONE
        assert denied in DENIED
        await it.delete("ServiceIdentity", stage.checkout)
        assert await ends(publisher, stage.topic) in DENIED


HOSTILE = {
    "offsets": ({"name": "__consumer_offsets"}, ""),
    "internal": ({"prefix": "__"}, ""),
    "everything": ({"name": "*"}, ""),
    "any-group": (None, "*"),
}
"""Topic and consumer group by policy name."""


async def test_name_that_could_widen_a_grant_is_never_applied(
    stage: Stage,
) -> None:
    """Not even for Kafka's internal topics, if the broker declares their prefix as owned."""
    market = stage.market(
        stage.broker(owns=("__",)),
        publisher("checkout", "orders", *HOSTILE, namespace=stage.home),
        subscriber("fulfilment", "orders", *HOSTILE, namespace=stage.home),
        *(stage.policy(name, topic, group) for name, (topic, group) in HOSTILE.items()),
    )
    async with at_kafka(stage, market) as it:
        for name in HOSTILE:
            ref = Ref(stage.home, name)
            assert it.condition_of("TopicPolicy", ref, "Ready")[0] == "False", name
            assert "InSync" not in {state for *_, state, _ in it.grants(ref)}, name
        assert {acl.name for acl in stage.acls()} == {stage.topic, stage.group}
        await publishes_at_last(it.client(stage.checkout), stage.topic)
        taken = await consumes(it.client(stage.fulfilment), stage.topic, stage.group)
        assert taken == DONE
