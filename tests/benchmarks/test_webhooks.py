"""What is measured of webhooks is what is said: it is signed, sent, and waited for."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import count
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from standardwebhooks import Webhook

from benchmarks import taking, verifying
from benchmarks.domain import Domain
from benchmarks.receiving import GATEWAY
from benchmarks.sending import BODY_BYTES, SECRET, Post, Senders, body_of
from benchmarks.webhooks import endpoint
from troth.edge.identity.document import parse_document
from troth.pki.jwk import key_id
from troth.resources.webhooks.schemes import SchemeName
from troth.webhooks.gateway.routes import served
from troth.webhooks.schemes.scheme import Verified

TAKEN = b"HTTP/1.1 204 No Content\r\ndate: today\r\n\r\n"


def head_and_body(request: bytes) -> tuple[dict[str, str], bytes]:
    head, _, body = request.partition(b"\r\n\r\n")
    pairs = (line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
    return {name.lower(): value for name, value in pairs}, body


def test_what_senders_send_is_what_the_senders_library_verifies() -> None:
    for request in Post().signed(3):
        headers, body = head_and_body(request)
        Webhook(SECRET).verify(body, headers)
        assert int(headers["content-length"]) == len(body) == BODY_BYTES


def test_no_two_deliveries_are_the_same() -> None:
    post = Post()
    requests = [*post.signed(20), *post.signed(20)]
    assert len({head_and_body(each)[0]["webhook-id"] for each in requests}) == len(requests)


@pytest.mark.parametrize("size", [200, 1024])
def test_a_body_is_json_of_the_size_that_was_asked_for(size: int) -> None:
    assert len(body_of(size)) == size
    assert json.loads(body_of(size))["id"]


# Sending


@contextmanager
def answered(*answers: bytes, connections: int = 3) -> Iterator[Senders]:
    """Connections whose other ends read a request and give the next of these answers."""
    numbers = count()

    def answer(end: socket.socket) -> None:
        with suppress(BrokenPipeError):  # a test that has ended reads no answer
            while end.recv(65536):
                end.sendall(answers[next(numbers) % len(answers)])

    with ExitStack() as stack:
        near = []
        for _ in range(connections):
            ours, theirs = socket.socketpair()
            near.append(stack.enter_context(ours))
            ours.settimeout(5)
            thread = threading.Thread(target=answer, args=(theirs,))
            stack.callback(theirs.close)
            stack.callback(thread.join)
            stack.callback(ours.shutdown, socket.SHUT_RDWR)
            thread.start()
        yield Senders(near)


@pytest.mark.parametrize("requests", [1, 3, 10])
def test_every_request_is_sent_and_answered(requests: int) -> None:
    with answered(TAKEN) as senders:
        assert senders.take([b"one"] * requests) > 0


def test_evenly_sent_each_request_has_a_time_of_its_own() -> None:
    with answered(TAKEN) as senders:
        times = senders.pace([b"one"] * 20, rate=2000)
    assert len(times) == 20
    assert min(times) > 0


@pytest.mark.parametrize(
    "refusal",
    [
        b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 10\r\n\r\n",
    ],
)
def test_a_measurement_ends_where_a_delivery_is_refused(refusal: bytes) -> None:
    with answered(TAKEN, refusal) as senders, pytest.raises(ConnectionError):
        senders.take([b"one"] * 4)
    with answered(TAKEN, refusal) as senders, pytest.raises(ConnectionError):
        senders.pace([b"one"] * 4, rate=2000)


# What is measured


def test_the_endpoint_that_is_measured_is_one_that_a_gateway_serves() -> None:
    document = json.dumps(endpoint(taking.described(8443))).encode()
    assert served({"endpoint.json": document, "key.k1": SECRET.encode()}).endpoint.target


def test_the_target_that_is_measured_counts_the_gateways_tokens_alone(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    taking.write_targets(tmp_path / "target", Domain.make(), key)
    document = parse_document((tmp_path / "target" / "identity.json").read_text())
    assert list(document.gateways[taking.PORT][GATEWAY].keys.public) == [key_id(key)]


def test_every_scheme_that_signs_is_measured_verifying() -> None:
    measured = set()
    for case in verifying.cases():
        verify, bare = case.calls()
        assert isinstance(verify(), Verified)
        assert bare() in {True, None}
        measured.add(case.name)
    assert measured == set(SchemeName) - {SchemeName.GITLAB_TOKEN}
