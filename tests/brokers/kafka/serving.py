"""A real Kafka for whichever tests ask for it, each with names of its own.

It starts when the first one asks, one for each worker of pytest-xdist. This is a plugin and no
conftest: tests of several directories share the server.
"""

import uuid
from collections.abc import Iterator

import pytest

from sandbox import java
from sandbox.brokers.kafka import Identities, KafkaServer
from tests.pki.builders import own_root
from troth.brokers.kafka.principals import mapping_rule
from troth.pki.authorities import SigningAuthority
from troth.pki.bundles import bundle_pem

PREFIX = "troth-prod-"
"""Of the principals of whoever comes with its identity's certificate."""


@pytest.fixture(scope="session")
def kafka_authority() -> SigningAuthority:
    """The root of the identities that the server knows."""
    return own_root()


@pytest.fixture(scope="session")
def kafka_server(kafka_authority: SigningAuthority) -> Iterator[KafkaServer]:
    if reason := java.missing():
        pytest.skip(f"there is no Kafka: {reason}")
    roots = bundle_pem(kafka_authority.authority.anchors).encode()
    with KafkaServer.start(identities=Identities(roots, mapping_rule(PREFIX))) as started:
        yield started


@pytest.fixture
def mine() -> str:
    """What every name of one test begins with."""
    return f"t{uuid.uuid4().hex[:10]}."
