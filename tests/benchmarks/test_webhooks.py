"""The webhook benchmarks measure what they name."""

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

from benchmarks.harness.domain import Domain
from benchmarks.harness.load import Load
from benchmarks.webhooks import schemes as verifying
from benchmarks.webhooks import target
from benchmarks.webhooks.gateway import endpoint
from benchmarks.webhooks.sender import BODY_BYTES, SECRET, Post, body_of, delivery_answer
from benchmarks.webhooks.server import GATEWAY
from troth.documents.identity.document import parse_document
from troth.pki.keys.jwk import key_id
from troth.resources.webhooks.schemes import SchemeName
from troth.webhooks.gateway.routes import served
from troth.webhooks.schemes.scheme import Verified

TAKEN = b"HTTP/1.1 204 No Content\r\ndate: today\r\n\r\n"


def head_and_body(request: bytes) -> tuple[dict[str, str], bytes]:
    head, _, body = request.partition(b"\r\n\r\n")
    pairs = (line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
    return {name.lower(): value for name, value in pairs}, body


def test_senders_library_verifies_the_deliveries() -> None:
    for request in Post().signed(3):
        headers, body = head_and_body(request)
        Webhook(SECRET).verify(body, headers)
        assert int(headers["content-length"]) == len(body) == BODY_BYTES


def test_each_delivery_has_its_own_id() -> None:
    post = Post()
    requests = [*post.signed(20), *post.signed(20)]
    assert len({head_and_body(each)[0]["webhook-id"] for each in requests}) == len(requests)


@pytest.mark.parametrize("size", [200, 1024])
def test_body_is_json_of_the_requested_size(size: int) -> None:
    assert len(body_of(size)) == size
    assert json.loads(body_of(size))["id"]


# Sending


@contextmanager
def answered(*answers: bytes, connections: int = 3) -> Iterator[Load]:
    """Yield a load whose servers read a request and send the next of these answers."""
    numbers = count()

    def answer(end: socket.socket) -> None:
        with suppress(BrokenPipeError):  # the test has ended and reads no answer
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
        yield Load(near, delivery_answer)


@pytest.mark.parametrize("requests", [1, 3, 10])
def test_each_request_is_sent_and_answered(requests: int) -> None:
    with answered(TAKEN) as senders:
        assert senders.take([b"one"] * requests) > 0


def test_paced_load_returns_a_time_for_each_request() -> None:
    with answered(TAKEN) as senders:
        times = senders.pace([b"one"] * 20, rate=2000)
    assert len(times) == 20
    assert min(times) > 0


@pytest.mark.parametrize(
    "rejection",
    [
        b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 10\r\n\r\n",
    ],
)
def test_rejected_delivery_ends_the_measurement(rejection: bytes) -> None:
    with answered(TAKEN, rejection) as senders, pytest.raises(ConnectionError):
        senders.take([b"one"] * 4)
    with answered(TAKEN, rejection) as senders, pytest.raises(ConnectionError):
        senders.pace([b"one"] * 4, rate=2000)


# The benchmark


def test_gateway_serves_the_benchmarks_endpoint() -> None:
    document = json.dumps(endpoint(target.description(8443))).encode()
    assert served({"endpoint.json": document, "key.k1": SECRET.encode()}).endpoint.target


def test_target_accepts_only_the_gateways_key(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    target.write_targets(tmp_path / "target", Domain.make(), key)
    document = parse_document((tmp_path / "target" / "identity.json").read_text())
    assert list(document.gateways[target.PORT][GATEWAY].keys.public) == [key_id(key)]


def test_each_signing_scheme_is_measured() -> None:
    measured = set()
    for case in verifying.cases():
        verify, bare = case.calls()
        assert isinstance(verify(), Verified)
        assert bare() in {True, None}
        measured.add(case.name)
    assert measured == set(SchemeName) - {SchemeName.GITLAB_TOKEN}
