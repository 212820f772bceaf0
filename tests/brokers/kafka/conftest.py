"""A real Kafka server for the tests in this directory.

It starts when the first test asks for it, one for each worker of pytest-xdist. Tests share it, each
with names of its own.
"""

import uuid
from collections.abc import AsyncIterator, Iterator

import pytest

from sandbox import java
from sandbox.brokers.kafka import Identities, KafkaServer
from tests.brokers.kafka.clients import PREFIX, administered
from tests.pki.builders import own_root
from troth.brokers.kafka import Kafka
from troth.pki.authorities import SigningAuthority
from troth.pki.bundles import bundle_pem
from troth.planning.kafka_principals import mapping_rule


@pytest.fixture(scope="session")
def authority() -> SigningAuthority:
    """The root of the identities that the server knows."""
    return own_root()


@pytest.fixture(scope="session")
def server(authority: SigningAuthority) -> Iterator[KafkaServer]:
    if reason := java.missing():
        pytest.skip(f"there is no Kafka: {reason}")
    roots = bundle_pem(authority.authority.anchors).encode()
    with KafkaServer.start(identities=Identities(roots, mapping_rule(PREFIX))) as started:
        yield started


@pytest.fixture
async def kafka(server: KafkaServer) -> AsyncIterator[Kafka]:
    broker = administered(server)
    yield broker
    await broker.close()


@pytest.fixture
def mine() -> str:
    """What every name of one test begins with."""
    return f"t{uuid.uuid4().hex[:10]}."
