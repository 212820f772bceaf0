"""Tokens per second of the issuer on one core. The floor is the same server, which only signs.

Both run uvicorn with the issuer's TLS, as processes on one core. The load is on another core, with
kept connections and certificates. The sides take turns.
"""

import base64
import gzip
import json
import re
import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from benchmarks.harness.domain import ISSUER, NAME, Domain, identity, write_tls
from benchmarks.harness.load import PIECE, Load
from benchmarks.harness.report import Comparison, Figure, Report
from benchmarks.harness.servers import (
    LOOPBACK,
    Side,
    alternate,
    new_directory,
    servers,
    write_secretly,
)
from benchmarks.tokens import server
from benchmarks.tokens.server import ANSWER, FLOOR, KEY, SECRET, TROTH
from troth.pki.keys.private import private_key_pem

ROUNDS = 8
TOKENS = 1000
"""Tokens from each side in each round."""
CONNECTIONS = 16
CALLERS, AUDIENCES = 1000, 4
"""Callers and audiences in the issuer's configuration."""
RATE = 0.55
"""The share of the floor's rate to reach."""
IDLE = 0.6
"""The share of its core that the load may use, so that no server waits for it."""
NOTE = (
    "The floor signs the same claims in the same server and does nothing else. Processor time "
    "is that of the issuer's process only, whatever else the machine does."
)
CALLER, HOST = "s0", "localhost"

_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)\r\n", re.IGNORECASE)
_END = b"\r\n\r\n"
_OK = b"HTTP/1.1 200 "


def reports(rounds: int = ROUNDS) -> Iterator[Report]:
    """Measure both servers in turns."""
    with servers() as running, ExitStack() as stack:
        caller = prepare(running.directory)
        connect = partial(connected, identity=caller)
        requests = [request()] * TOKENS

        def side(name: str) -> Side:
            return stack.enter_context(
                running.running(name, server.__name__, connect, lambda: requests)
            )

        troth = side(TROTH)
        with troth.connect() as load:
            (running.directory / ANSWER).write_bytes(load.once(request()))
        floor = side(FLOOR)
        for each in (troth, floor):
            each.warm_up()
        alternate(rounds, floor, [troth])
        title = f"Issuer: {TOKENS} tokens, {rounds} times"
        yield Report(title, [*_rows(troth, floor)], NOTE, [*_figures(troth, floor)])


def _rows(troth: Side, floor: Side) -> Iterator[Comparison]:
    what = f"{TOKENS} tokens"
    yield Comparison(what, troth.clock, floor.clock, 1 / RATE)
    yield Comparison(f"{what}: processor time", troth.processor, floor.processor, 1 / RATE)


def _figures(troth: Side, floor: Side) -> Iterator[Figure]:
    for name, side in (("Troth", troth), ("the floor", floor)):
        yield Figure(f"tokens per second: {name}", side.rate(TOKENS))
    for name, side in (("Troth", troth), ("the floor", floor)):
        yield Figure(f"share of its core: {name}", side.share)
    yield Figure("share of its core: the load on the floor", floor.load_share, "", IDLE)


# The requests


def request() -> bytes:
    """Return the request for a token."""
    form = urlencode(
        {"grant_type": "client_credentials", "audience": identity("s1"), "scope": "read write"}
    ).encode()
    head = (
        f"POST /token HTTP/1.1\r\nHost: {HOST}\r\nAccept: application/json\r\n"
        "Content-Type: application/x-www-form-urlencoded\r\n"
        f"Content-Length: {len(form)}\r\n\r\n"
    )
    return head.encode() + form


@contextmanager
def connected(port: int, identity: Path, connections: int = CONNECTIONS) -> Iterator[Load]:
    """Connect with the certificate in a directory while the context lasts."""
    context = ssl.create_default_context(cafile=identity / "ca.crt")
    context.load_cert_chain(identity / "tls.crt", identity / "tls.key")
    with ExitStack() as stack:
        opened = []
        for _ in range(connections):
            plain = socket.create_connection((LOOPBACK, port))
            tls = context.wrap_socket(plain, server_hostname=HOST)
            opened.append(stack.enter_context(tls))
        yield Load(opened, token_answer)


def token_answer(connection: socket.socket) -> bytes:
    """Return the body of the next answer; raises `ConnectionError` for one without a token."""
    data = b""
    while _END not in data:
        data += _received(connection)
    head, _, body = data.partition(_END)
    length = _LENGTH.search(head + b"\r\n")
    if not head.startswith(_OK) or length is None:
        raise ConnectionError(f"the answer has no token: {data[:500]!r}")
    while len(body) < int(length[1]):
        body += _received(connection)
    return body


def _received(connection: socket.socket) -> bytes:
    piece = connection.recv(PIECE)
    if not piece:
        raise ConnectionError("the issuer closed the connection")
    return piece


# The files


def prepare(directory: Path) -> Path:
    """Write the files of both servers; return the directory with the caller's certificate."""
    domain = Domain.make()
    write_tls(directory, domain.svid("troth-issuer"), domain.anchors)
    key = private_key_pem(domain.token_key)
    write_secretly(directory / KEY, key)
    write_secretly(directory / SECRET, json.dumps(_secret(domain, key)))
    caller = new_directory(directory / CALLER)
    write_tls(caller, domain.svid(CALLER), domain.anchors)
    return caller


def _secret(domain: Domain, key: bytes) -> dict[str, Any]:
    """Return the issuer's Secret: a fleet in which each identity calls the next ones."""
    grant = {"scopes": ["read", "write"], "lifetime": 300}
    view = {
        "version": "v1alpha1",
        "trustDomain": NAME,
        "issuer": ISSUER,
        "maxLifetime": 900,
        "callers": {
            identity(f"s{number}"): {
                "audiences": {
                    identity(f"s{(number + step) % CALLERS}"): grant
                    for step in range(1, AUDIENCES + 1)
                }
            }
            for number in range(CALLERS)
        },
    }
    parts = {
        "current.key": key,
        "view.json.gz": gzip.compress(json.dumps(view).encode(), mtime=0),
        "bundle.json": json.dumps(domain.bundle()).encode(),
    }
    data = {name: base64.b64encode(part).decode() for name, part in parts.items()}
    return {"metadata": {"name": "bench-tokens", "resourceVersion": "1"}, "data": data}
