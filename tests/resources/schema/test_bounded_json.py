"""Untrusted JSON raises only `ValueError`."""

import pytest

from troth.brokers.errors import BrokerError
from troth.brokers.nats.connection import document_of
from troth.resources.schema.bounded_json import read_json

HOSTILE = [
    pytest.param("[" * 4096, id="open arrays"),
    pytest.param('{"a":' * 4096, id="open objects"),
    pytest.param("[" * 100_000 + "]" * 100_000, id="a hundred thousand levels"),
    pytest.param("9" * 5000, id="a number of 5000 digits"),
    pytest.param("NaN", id="no number"),
    pytest.param("Infinity", id="infinity"),
    pytest.param('"\ud800"', id="half of a surrogate pair"),
    pytest.param("", id="nothing"),
    pytest.param(" " * (4 * 1024 * 1024 + 1), id="too long"),
]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_json_is_rejected(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_json(text)
    with pytest.raises(ValueError, match=r"."):
        read_json(text.encode("utf-8", "surrogatepass"))


def test_json_of_reasonable_depth_is_read() -> None:
    text = "[" * 150 + "]" * 150
    assert read_json(text) == read_json(text.encode())


def test_endlessly_nested_answer_of_a_broker_is_rejected() -> None:
    with pytest.raises(BrokerError):
        document_of(b"[" * 100_000, "a server")
