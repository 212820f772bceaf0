"""The client gives up before librdkafka does, which aborts the process if an answer is late."""

from concurrent.futures import Future
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient

from troth.brokers.errors import UnreachableError
from troth.brokers.kafka.admin import Scram
from troth.brokers.kafka.client import LIBRARY_GRACE, Access, Client

NOWHERE = Access(("127.0.0.1:9",), Scram("a", "b", "SCRAM-SHA-512"))


def test_library_waits_longer_than_the_client() -> None:
    given: list[float] = []
    client = Client(NOWHERE, 0.1)

    def never(_: AdminClient, items: list[str], timeout: float) -> dict[str, Future[Any]]:
        given.append(timeout)
        return {item: Future() for item in items}

    with pytest.raises(UnreachableError, match="did not answer"):
        client.ask("describe groups", never, ["g"])
    assert given == [0.1 + LIBRARY_GRACE]
    assert client._admin is None  # so librdkafka has dropped the request
