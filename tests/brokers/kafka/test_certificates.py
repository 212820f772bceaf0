"""An identity's certificate maps to its own principal at the server, and to no other."""

import asyncio
from dataclasses import replace

import pytest
from cryptography import x509

from sandbox.brokers.kafka import ADMINISTRATOR, KafkaServer
from tests.brokers.kafka.clients import DENIED, DONE, TURNED_AWAY, Holder, make_topics
from tests.brokers.kafka.serving import PREFIX
from tests.brokers.waiting import observed
from tests.pki import builders as pki
from troth.brokers.kafka.driver import Kafka
from troth.brokers.kafka.rules import rules
from troth.brokers.protocol import Batch
from troth.pki.certificates.authorities import SigningAuthority
from troth.pki.certificates.issuing import issue
from troth.pki.certificates.subjects import Subject
from troth.pki.encodings.pem import read_certificates
from troth.pki.keys.private import load_private_key
from troth.trust.grants import Action, Grant, Topic


@pytest.fixture
def namespace(mine: str) -> str:
    """Namespace that no other test uses."""
    return mine.removesuffix(".")


def issued(authority: SigningAuthority, subject: Subject | None) -> pki.Made:
    """Return an identity's leaf as Troth issues it; without a subject, an issuer's leaf."""
    key = pki.key(which=str(subject))
    chain = issue(replace(pki.profile(), subject=subject), key, authority, pki.NOW)
    return pki.Made(read_certificates(chain, "the test")[0], key)


def forged(authority: SigningAuthority, name: str) -> pki.Made:
    """Return a leaf that a thief of Troth's root could sign."""
    return pki.by_hand(name, pki.Made(authority.certificate, authority.private_key), ca=False)


async def test_two_identities_are_two_principals_with_separate_grants(
    server: KafkaServer, kafka: Kafka, authority: SigningAuthority, namespace: str
) -> None:
    topic, group = f"{namespace}.orders", f"{namespace}.packing"
    make_topics(server, [topic])
    wanted = rules(
        [
            Grant(f"{PREFIX}{namespace}.checkout", Action.PUBLISH, Topic(topic)),
            Grant(f"{PREFIX}{namespace}.fulfilment", Action.CONSUME, Topic(topic), group),
        ]
    )
    assert await kafka.apply(Batch(additions=tuple(wanted))) == ()
    await observed(kafka, lambda seen: wanted <= seen.rules)

    async def published_and_consumed(name: str, at: str = namespace) -> tuple[str, str]:
        held = issued(authority, Subject(name, at))
        return await asyncio.gather(
            asyncio.to_thread(Holder(server, held).publish, topic),
            asyncio.to_thread(Holder(server, held).consume, topic, group),
        )

    checkout, fulfilment, *others = await asyncio.gather(
        published_and_consumed("checkout"),
        published_and_consumed("fulfilment"),
        published_and_consumed("checkout", f"{namespace}-2"),
        published_and_consumed("checkout.fulfilment"),
    )
    assert checkout[0] == DONE
    assert fulfilment[1] == DONE
    assert {checkout[1], fulfilment[0], *others[0], *others[1]} <= DENIED


async def test_identity_with_the_administrators_name_is_not_the_administrator(
    server: KafkaServer, authority: SigningAuthority, namespace: str
) -> None:
    topic = f"{namespace}.orders"  # the administrator could write to it without any grant
    make_topics(server, [topic])
    leaf = issued(authority, Subject(ADMINISTRATOR, namespace))
    assert await asyncio.to_thread(Holder(server, leaf).publish, topic) in DENIED
    for held, address in [
        (leaf, server.admin_address),
        (forged(authority, ADMINISTRATOR), server.admin_address),
        (forged(authority, ADMINISTRATOR), server.identity_address),
    ]:
        holder = Holder(server, held, address)
        assert await asyncio.to_thread(holder.publish, topic) == TURNED_AWAY


async def test_leaf_without_a_subject_is_rejected(
    server: KafkaServer, authority: SigningAuthority
) -> None:
    holder = Holder(server, issued(authority, None))
    assert await asyncio.to_thread(holder.publish, "any") == TURNED_AWAY


async def test_certificate_of_the_brokers_own_authority_is_rejected(
    server: KafkaServer, namespace: str
) -> None:
    pair = server.authority.client(namespace, user=ADMINISTRATOR)
    certificate = x509.load_pem_x509_certificate(pair.certificate.read_bytes())
    key = load_private_key(pair.key.read_bytes())
    holder = Holder(server, pki.Made(certificate, key))
    assert await asyncio.to_thread(holder.publish, "any") == TURNED_AWAY
