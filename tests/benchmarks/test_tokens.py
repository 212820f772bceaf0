"""The token benchmarks measure what they name."""

import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import chain

import jwt
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec

from benchmarks.harness.domain import Domain, identity
from benchmarks.harness.load import Load
from benchmarks.tokens import es256, view
from benchmarks.tokens.callee import OWN, caller
from benchmarks.tokens.issuer import token_answer

KEY = ec.generate_private_key(ec.SECP256R1())


def test_floor_signs_a_valid_token() -> None:
    data, _, _ = jwt.encode({"sub": "ann"}, KEY, "ES256").encode().rpartition(b".")
    token = es256.signed(data, KEY).decode()
    assert jwt.decode(token, KEY.public_key(), ["ES256"]) == {"sub": "ann"}


def test_floor_rejects_a_token_of_another_key() -> None:
    token = jwt.encode({"sub": "ann"}, KEY, "ES256")
    es256.verify(token, KEY.public_key())
    with pytest.raises(InvalidSignature):
        es256.verify(token, ec.generate_private_key(ec.SECP256R1()).public_key())


def test_each_token_of_a_caller_is_new() -> None:
    domain = Domain.make()
    calls = caller(domain)
    tokens = [calls.token() for _ in range(3)]
    assert len(set(tokens)) == len(tokens)
    claims = jwt.decode(tokens[0], domain.token_key.public_key(), ["ES256"], audience=identity(OWN))
    assert claims["sub"] == calls.svid.spiffe_id


# The load


def answers(token: str) -> bytes:
    body = json.dumps({"access_token": token}).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


@pytest.fixture
def ends() -> Iterator[list[tuple[socket.socket, socket.socket]]]:
    """Return three connections, each as a pair of sockets."""
    with ExitStack() as stack:
        pairs = [socket.socketpair() for _ in range(3)]
        for end in chain.from_iterable(pairs):
            stack.enter_context(end).settimeout(5)
        yield pairs


def test_load_sends_each_request_and_reads_its_answer(
    ends: list[tuple[socket.socket, socket.socket]],
) -> None:
    for number, (_, far) in enumerate(ends):
        far.sendall(answers(f"token-{number}"))
    assert Load([near for near, _ in ends], token_answer).take([b"ask"] * 3) > 0
    assert [far.recv(100) for _, far in ends] == [b"ask"] * 3


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", b""])
def test_load_fails_without_a_token(
    answer: bytes, ends: list[tuple[socket.socket, socket.socket]]
) -> None:
    near, far = ends[0]
    far.sendall(answer)
    far.shutdown(socket.SHUT_WR)
    with pytest.raises(ConnectionError):
        Load([near], token_answer).once(b"ask")


# The view


def test_skipped_version_is_read_with_the_next_one() -> None:
    read = {7: 1.0, 9: 2.0}
    assert [view.first_reading(read, version) for version in (7, 8, 9)] == [1.0, 2.0, 2.0]
