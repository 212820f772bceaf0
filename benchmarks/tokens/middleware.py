"""The time that the middleware adds to a request. The floor is the plain application.

The benchmark calls applications as their servers do, without a network. For new tokens, the floor
is only the verification of their signatures by `cryptography`.
"""

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from benchmarks.harness.domain import Domain
from benchmarks.harness.report import QUANTILES, Comparison, Figure, Report, quantile
from benchmarks.harness.turns import Turn, compare, each_timed
from benchmarks.tokens.callee import PORT, Caller, caller, mount
from benchmarks.tokens.es256 import verify
from troth.edge.identity.files import Identity
from troth.edge.inbound import asgi, wsgi

ROUNDS = 60
REQUESTS = 50
"""Requests to each side in each round."""
ADDED = 30e-6
"""Maximum seconds that the middleware adds to a request with known tokens, in the median."""
FIRST_SIGHT = 1.5
"""Maximum ratio of a request with new tokens to the plain verification."""
TITLE = f"Middleware: {ROUNDS * REQUESTS} requests of each kind"
NOTE = (
    "The request has an access token and a transaction token. Known tokens were seen before; "
    "usually the first is known and the second is new. Times include the application."
)

Tokens = tuple[str, str]


def reports() -> Iterator[Report]:
    """Measure in this process."""
    domain = Domain.make()
    with tempfile.TemporaryDirectory() as directory, asyncio.Runner() as runner:
        key = domain.token_key.public_key()
        bench = _Bench(mount(Path(directory), domain), caller(domain), key, runner)
        known = bench.known()
        yield Report(TITLE, [known, *bench.new(), bench.by_wsgi()], NOTE, [*_added(known)])


def _added(known: Comparison) -> Iterator[Figure]:
    for name in ("p50", "p99"):
        share = QUANTILES[name]
        added = quantile(known.troth, share) - quantile(known.floor, share)
        aim = ADDED * 1e6 if name == "p50" else None
        yield Figure(f"added to a request, tokens known: {name}", added * 1e6, "µs", aim)


@dataclass(frozen=True, slots=True)
class _Bench:
    """A callee, its caller, and the event loop of ASGI applications."""

    identity: Identity
    calls: Caller
    key: ec.EllipticCurvePublicKey
    """The key that verifies tokens."""
    runner: asyncio.Runner

    def known(self) -> Comparison:
        """Compare requests with known tokens with the application alone."""
        tokens = [self._new_tokens()] * REQUESTS
        guarded = asgi.TrothMiddleware(_application, self.identity, PORT)
        troth, floor = (partial(self._requests, app, tokens) for app in (guarded, _application))
        troth()
        return compare("both tokens known; floor: no middleware", ROUNDS, lambda: (troth, floor))

    def new(self) -> Iterator[Comparison]:
        """Compare requests with new tokens with the verification of these alone."""
        guarded = asgi.TrothMiddleware(_application, self.identity, PORT)
        access, transaction = known = self._new_tokens()
        self._requests(guarded, [known])
        makers: Mapping[str, Callable[[], Tokens]] = {
            "access token new": lambda: (self.calls.token(), transaction),
            "transaction token new": lambda: (access, self.calls.transaction()),
            "both new; floor: two verifications": self._new_tokens,
        }
        for what, make in makers.items():
            yield compare(
                what, ROUNDS, partial(self._round_of_new, guarded, make, known), FIRST_SIGHT
            )

    def by_wsgi(self) -> Comparison:
        """Compare WSGI requests with known tokens with the application alone."""
        tokens = self._new_tokens()
        guarded = wsgi.TrothMiddleware(_wsgi_application, self.identity, PORT)
        troth, floor = (
            partial(self._wsgi_requests, app, tokens) for app in (guarded, _wsgi_application)
        )
        troth()
        return compare("WSGI, both known; floor: no middleware", ROUNDS, lambda: (troth, floor))

    def _round_of_new(
        self, guarded: asgi.Application, make: Callable[[], Tokens], known: Tokens
    ) -> tuple[Turn, Turn]:
        tokens = [make() for _ in range(REQUESTS)]
        unknown = [[each for each in pair if each not in known] for pair in tokens]
        verifications = [partial(self._verify, each) for each in unknown]
        return partial(self._requests, guarded, tokens), partial(each_timed, verifications)

    def _verify(self, tokens: Sequence[str]) -> None:
        for token in tokens:
            verify(token, self.key)

    def _new_tokens(self) -> Tokens:
        return self.calls.token(), self.calls.transaction()

    def _requests(self, app: asgi.Application, tokens: Iterable[Tokens]) -> list[float]:
        """Return how long each request takes; each has a new scope, as from a server."""
        return self.runner.run(_timed(app, [self.calls.scope(*each) for each in tokens]))

    def _wsgi_requests(self, app: wsgi.Application, tokens: Tokens) -> list[float]:
        statuses = set()

        def start_response(status: str, _headers: Sequence[tuple[str, str]]) -> None:
            statuses.add(status)

        def request(environ: wsgi.Environ) -> None:
            answer = app(environ, start_response)
            for _ in answer:
                pass
            getattr(answer, "close", bool)()

        environs = [self.calls.environ(*tokens) for _ in range(REQUESTS)]
        times = each_timed([partial(request, each) for each in environs])
        assert statuses == {"200 OK"}
        return times


async def _timed(app: asgi.Application, scopes: Iterable[asgi.Scope]) -> list[float]:
    statuses, times = set(), []

    async def receive() -> dict[str, Any]:
        raise AssertionError("the application reads no body")

    async def send(message: Any) -> None:  # noqa: ANN401 - ASGI's messages
        statuses.add(message.get("status", HTTPStatus.OK))

    for scope in scopes:
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


def _wsgi_application(
    _environ: wsgi.Environ, start_response: wsgi.StartResponse
) -> Iterable[bytes]:
    start_response("200 OK", [])
    return [b"charged"]
