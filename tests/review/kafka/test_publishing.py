"""Order and outcomes of a batch, at a broker in memory."""

from collections.abc import Callable, MutableMapping, Sequence
from typing import Any, cast

import pytest
from confluent_kafka import KafkaError, Producer

from troth.review.brokers import BrokerUnavailableError, NotStoredError, TooLargeError
from troth.review.kafka.client import Lost
from troth.review.kafka.publishing import ALONE_BYTES, BATCH_BYTES, Outgoing, Publisher

LARGE = b"x" * ALONE_BYTES


def message(data: bytes, key: bytes = b"key") -> Outgoing:
    return Outgoing("retry", (), data, key)


class Scripted(Publisher):
    """Publisher whose groups are answered by a function."""

    def __init__(self, answer: Callable[[Sequence[bytes]], Sequence[Exception | None]]) -> None:
        super().__init__("shop/orders", dict)
        self._answer = answer
        self.groups: list[list[bytes]] = []

    def _publish(self, messages: Sequence[Outgoing]) -> list[Exception | None]:
        self.groups.append([each.data[:2] for each in messages])
        return list(self._answer([each.data for each in messages]))


def test_nothing_is_published_after_a_group_that_is_unavailable() -> None:
    fault = BrokerUnavailableError("away")
    publisher = Scripted(lambda group: [fault if each[:1] == b"x" else None for each in group])
    outcomes = publisher.publish([message(b"1"), message(LARGE), message(b"2"), message(LARGE)])
    assert publisher.groups == [[b"1"], [b"xx"]]
    assert outcomes[:2] == [None, fault]
    assert [type(each) for each in outcomes[2:]] == [NotStoredError] * 2


def test_group_is_one_batch_so_that_none_is_stored_behind_one_that_is_too_large() -> None:
    publisher = Scripted(lambda group: [None] * len(group))
    data = b"y" * (ALONE_BYTES - 10)
    messages = [message(data) for _ in range(20)]
    publisher.publish(messages)
    assert sum(map(len, publisher.groups)) == 20
    most = max(map(len, publisher.groups)) * ALONE_BYTES
    assert most <= BATCH_BYTES < 1_000_000


def test_cause_of_a_lost_client_outlives_its_effect() -> None:
    lost = Lost()
    for code in (KafkaError._AUTHENTICATION, KafkaError._ALL_BROKERS_DOWN):
        lost(KafkaError(code))
    with pytest.raises(BrokerUnavailableError, match="_AUTHENTICATION"):
        lost.check("orders")


def test_message_without_data_is_published() -> None:
    publisher = Scripted(lambda group: [None] * len(group))
    assert publisher.publish([message(b""), message(b"")]) == [None, None]
    assert publisher.publish([]) == []


def test_batch_that_is_too_large_is_sent_again_from_its_first_failure_on() -> None:
    large = TooLargeError("large")
    fault = BrokerUnavailableError("away")

    def answer(group: Sequence[bytes]) -> Sequence[Exception | None]:
        if len(group) > 1:
            return [None, *[large] * (len(group) - 1)]
        return [{b"b": large, b"d": fault}.get(group[0])]

    publisher = Scripted(answer)
    outcomes = publisher.publish([message(each.encode()) for each in "abcde"])
    assert publisher.groups == [[b"a", b"b", b"c", b"d", b"e"], [b"b"], [b"c"], [b"d"]]
    assert outcomes[:4] == [None, large, None, fault]
    assert isinstance(outcomes[4], NotStoredError)


class Late(Publisher):
    """Publisher of which some messages are acknowledged, and the others never."""

    def _current(self) -> Producer:
        return cast("Producer", object())

    def _produce(
        self,
        producer: Producer,  # noqa: ARG002
        number: int,
        message: Outgoing,
        outcomes: MutableMapping[int, Exception | None],
    ) -> None:
        if message.data == b"stored":
            outcomes[number] = None
        elif message.data == b"large":
            outcomes[number] = TooLargeError("large")

    def _wait(self, producer: Producer, count: int, outcomes: Any) -> None:
        """Give the others up."""


def test_message_with_an_outcome_keeps_it_when_others_are_given_up() -> None:
    publisher = Late("shop/orders", dict)
    sent = [message(each) for each in (b"stored", b"large", b"lost")]
    outcomes = publisher._publish(sent)
    assert [type(each) for each in outcomes] == [type(None), TooLargeError, BrokerUnavailableError]


def test_publisher_that_cannot_connect_has_sent_nothing() -> None:
    def missing() -> Any:
        raise FileNotFoundError

    outcomes = Publisher("shop/orders", missing).publish([message(b"1"), message(b"2")])
    assert [type(each) for each in outcomes] == [NotStoredError] * 2
