"""Fixtures: a real Kafka, on which each test has its own names.

The server starts at its first use, once for each worker of pytest-xdist. This is a plugin and no
conftest, because tests of several directories share the server.
"""

import uuid
from collections.abc import Iterator

import pytest

from sandbox import java
from sandbox.brokers.kafka import Identities, KafkaServer
from tests.pki.builders import own_root
from troth.brokers.kafka.principals import mapping_rule
from troth.pki.bundles.trust_bundle import bundle_pem
from troth.pki.certificates.authorities import SigningAuthority

PREFIX = "troth-prod-"
"""Prefix of the principals of clients with an identity's certificate."""


def skip_without_java() -> None:
    """Skip a test on a machine without a JVM, on which no Kafka runs."""
    if reason := java.missing():
        pytest.skip(f"there is no Kafka: {reason}")


@pytest.fixture(scope="session")
def kafka_authority() -> SigningAuthority:
    """Root of the identities that the server trusts."""
    return own_root()


@pytest.fixture(scope="session")
def kafka_server(kafka_authority: SigningAuthority) -> Iterator[KafkaServer]:
    skip_without_java()
    roots = bundle_pem(kafka_authority.authority.anchors).encode()
    with KafkaServer.start(identities=Identities(roots, mapping_rule(PREFIX))) as started:
        yield started


@pytest.fixture
def own_kafka() -> Iterator[KafkaServer]:
    """A Kafka for one test, which stops it, or runs too long for the worker of the shared one."""
    skip_without_java()
    with KafkaServer.start() as started:
        yield started


@pytest.fixture
def mine() -> str:
    """Prefix of all names of one test."""
    return f"t{uuid.uuid4().hex[:10]}."
