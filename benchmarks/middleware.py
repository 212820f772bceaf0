"""What the middleware adds to a request, beside the bare application in the same process.

Applications are called as their servers call them, without a network. Where tokens are new, the
floor is the verification of their signatures by `cryptography`, with nothing read and nothing
asked. Each side is measured before and after the other.
"""

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from benchmarks.callee import PORT, Caller, caller, mount
from benchmarks.domain import Domain
from benchmarks.es256 import verify
from benchmarks.figures import QUANTILES, Comparison, Figure, Report, quantile
from troth.edge.identity.files import Identity
from troth.edge.inbound import asgi, wsgi

ROUNDS = 60
REQUESTS = 50
"""In each round, by each side."""
ADDED = 30e-6
"""Seconds that a request with known tokens may take more, half of the time."""
FIRST_SIGHT = 1.5
"""Times the bare verification that a request with new tokens may take."""
TITLE = f"Middleware: {ROUNDS * REQUESTS} requests of each kind"
NOTE = (
    "The request carries an access token and a transaction token. Known ones were seen before; in "
    "the everyday case the first is known and the second is new. Times are those of all that the "
    "middleware and the application do."
)

Times = list[float]
Tokens = tuple[str, str]


def reports() -> Iterator[Report]:
    """Measure in this process."""
    domain = Domain.make()
    with tempfile.TemporaryDirectory() as directory:
        identity, calls = mount(Path(directory), domain), caller(domain)
        known = asyncio.run(_known(identity, calls))
        new = asyncio.run(_new(identity, calls, domain))
        yield Report(TITLE, [known, *new, _wsgi(identity, calls)], NOTE, [*_added(known)])


def _added(known: Comparison) -> Iterator[Figure]:
    for name in ("p50", "p99"):
        share = QUANTILES[name]
        added = quantile(known.troth, share) - quantile(known.floor, share)
        aim = ADDED * 1e6 if name == "p50" else None
        yield Figure(f"added to a request, tokens known: {name}", added * 1e6, "µs", aim)


# With ASGI


async def _known(identity: Identity, calls: Caller) -> Comparison:
    tokens = [(calls.token(), calls.transaction())] * REQUESTS
    guarded = asgi.TrothMiddleware(_application, identity, PORT)
    await _timed(guarded, calls, tokens)
    floor, troth = [], []
    for _ in range(ROUNDS):
        floor += await _timed(_application, calls, tokens)
        troth += await _timed(guarded, calls, tokens)
        floor += await _timed(_application, calls, tokens)
    return Comparison("both tokens known; floor: no middleware", troth, floor)


async def _new(identity: Identity, calls: Caller, domain: Domain) -> list[Comparison]:
    """Compare requests of which a token is new, or both, with the verification of those."""
    key = domain.token_key.public_key()
    guarded = asgi.TrothMiddleware(_application, identity, PORT)
    known = calls.token(), calls.transaction()
    await _timed(guarded, calls, [known])
    makers: Mapping[str, Callable[[], Tokens]] = {
        "access token new": lambda: (calls.token(), known[1]),
        "transaction token new": lambda: (known[0], calls.transaction()),
        "both new; floor: two verifications": lambda: (calls.token(), calls.transaction()),
    }
    rows = []
    for what, make in makers.items():
        floor, troth = [], []
        for _ in range(ROUNDS):
            tokens = [make() for _ in range(REQUESTS)]
            unknown = [[each for each in pair if each not in known] for pair in tokens]
            floor += _verified(unknown, key)
            troth += await _timed(guarded, calls, tokens)
            floor += _verified(unknown, key)
        rows.append(Comparison(what, troth, floor, FIRST_SIGHT))
    return rows


async def _timed(app: asgi.Application, calls: Caller, tokens: Iterable[Tokens]) -> Times:
    """Return how long each request takes; a new scope for each, as a server makes it."""
    statuses, times = set(), []

    async def receive() -> dict[str, Any]:
        raise AssertionError("nobody reads the body here")

    async def send(message: Any) -> None:  # noqa: ANN401 - ASGI's messages
        statuses.add(message.get("status", HTTPStatus.OK))

    for scope in [calls.scope(*each) for each in tokens]:
        began = time.perf_counter()
        await app(scope, receive, send)
        times.append(time.perf_counter() - began)
    assert statuses == {HTTPStatus.OK}
    return times


async def _application(
    _scope: asgi.Scope, _receive: asgi.Receive, send: Callable[[Any], Awaitable[None]]
) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"charged"})


def _verified(requests: Iterable[Sequence[str]], key: ec.EllipticCurvePublicKey) -> Times:
    times = []
    for tokens in requests:
        began = time.perf_counter()
        for token in tokens:
            verify(token, key)
        times.append(time.perf_counter() - began)
    return times


# With WSGI


def _wsgi(identity: Identity, calls: Caller) -> Comparison:
    tokens = calls.token(), calls.transaction()
    guarded = wsgi.TrothMiddleware(_wsgi_application, identity, PORT)
    _wsgi_timed(guarded, calls, tokens)
    floor, troth = [], []
    for _ in range(ROUNDS):
        floor += _wsgi_timed(_wsgi_application, calls, tokens)
        troth += _wsgi_timed(guarded, calls, tokens)
        floor += _wsgi_timed(_wsgi_application, calls, tokens)
    return Comparison("WSGI, both known; floor: no middleware", troth, floor)


def _wsgi_timed(app: wsgi.Application, calls: Caller, tokens: Tokens) -> Times:
    statuses, times = set(), []

    def start_response(status: str, _headers: Sequence[tuple[str, str]]) -> None:
        statuses.add(status)

    for environ in [calls.environ(*tokens) for _ in range(REQUESTS)]:
        began = time.perf_counter()
        answer = app(environ, start_response)
        for _ in answer:
            pass
        getattr(answer, "close", bool)()
        times.append(time.perf_counter() - began)
    assert statuses == {"200 OK"}
    return times


def _wsgi_application(
    _environ: wsgi.Environ, start_response: wsgi.StartResponse
) -> Iterable[bytes]:
    start_response("200 OK", [])
    return [b"charged"]
