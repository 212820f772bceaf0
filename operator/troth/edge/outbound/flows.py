"""The steps of a client for one request, without I/O.

Each flow is a generator that yields a step and receives its result. `driving` runs flows, in
threads or in asyncio. Libraries with threads and those with tasks therefore behave the same, and
one place defines that behaviour.
"""

import ssl
from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from troth.edge.outbound import transactions
from troth.edge.outbound.calls import Call, Calls, Issuer
from troth.edge.outbound.challenges import is_invalid_token
from troth.edge.outbound.connections import C, Generation
from troth.edge.outbound.exchange import Ask, ExchangeFailedError, read_answer
from troth.edge.outbound.failures import TokenRefusedError, TokenUnavailableError
from troth.edge.outbound.servers import WrongServerError
from troth.edge.outbound.tokens import Fetch, Flight, Use, Wait
from troth.edge.outbound.transactions import Transaction

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Post:
    """Send this to the issuer; the result is an `Answer`, or `ExchangeFailedError` is thrown."""

    ask: Ask
    context: ssl.SSLContext


@dataclass(frozen=True, slots=True)
class Land:
    """Wait for a flight; the result is its token, or `TokenUnavailableError` is thrown."""

    flight: Flight


@dataclass(frozen=True, slots=True)
class Spawn:
    """Run a flow shielded from cancellation; with `beside`, without waiting for it."""

    flow: "Flow[None]"
    beside: bool


Flow = Generator[Post | Land | Spawn, Any, T]


@dataclass(frozen=True, slots=True)
class Ready(Generic[C]):
    """A call that may be sent, with its token if it needs one."""

    call: Call[C]
    token: str | None = field(repr=False)


class Flows(Generic[C]):
    """The flows of one client."""

    def __init__(self, calls: Calls[C]) -> None:
        self._calls = calls
        self._cache = calls.cache
        self._generations = calls.generations

    def ready(self, callee: str, generation: Generation[C]) -> Flow[Ready[C]]:
        """Prepare a call on a generation, or on the previous one if that still holds a token.

        The previous generation is used only if the issuer is unavailable and this generation has no
        token yet. That adds a use to it. Raises `UnknownCalleeError` and `TokenUnavailableError`.
        """
        call = self._calls.call(callee, generation)
        try:
            return Ready(call, (yield from self._token(call)))
        except TokenRefusedError:
            raise
        except TokenUnavailableError:
            before = self._ready_before(callee, generation)
            if before is None:
                raise
            return before

    def again(self, ready: Ready[C], challenges: Iterable[str]) -> Flow[Ready[C] | None]:
        """Return a rejected call with a fresh token; None if the 401 stays the answer.

        A fresh token is fetched only if the challenges of the 401 say that the token is invalid.
        """
        wanted, token = ready.call.wanted, ready.token
        if wanted is None or token is None or not is_invalid_token(challenges):
            return None
        if not self._cache.refused(wanted, token):
            return None
        try:
            return Ready(ready.call, (yield from self._token(ready.call)))
        except TokenUnavailableError:
            return None

    def start_transaction(
        self,
        generation: Generation[C],
        *,
        subject: str,
        scopes: Iterable[str],
        tenant: str | None,
        context: Mapping[str, str] | None,
        request: Mapping[str, str] | None,
    ) -> Flow[Transaction]:
        """Start a transaction on behalf of a subject."""
        issuer = self._calls.issuer(generation.snapshot)
        ask = transactions.start(
            issuer.url,
            generation.snapshot.trust_domain,
            subject=subject,
            scopes=scopes,
            tenant=tenant,
            context=context,
            request=request,
        )
        return (yield from self._transaction(ask, issuer, generation))

    def narrow_transaction(
        self,
        generation: Generation[C],
        scopes: Iterable[str],
        transaction: Transaction | str | None,
    ) -> Flow[Transaction]:
        """Replace a transaction's token by one with fewer scopes."""
        issuer = self._calls.issuer(generation.snapshot)
        trust_domain = generation.snapshot.trust_domain
        ask = transactions.narrow(issuer.url, trust_domain, scopes, transaction)
        return (yield from self._transaction(ask, issuer, generation))

    def _token(self, call: Call[C]) -> Flow[str | None]:
        if call.wanted is None:
            return None
        match self._cache.ask(call.wanted):
            case Use(token, renewal):
                if renewal is not None:
                    yield Spawn(self._fly(renewal, call.generation), beside=True)
                return token
            case Fetch(flight):
                yield Spawn(self._fly(flight, call.generation), beside=False)
                return str((yield Land(flight)))
            case Wait(flight):
                return str((yield Land(flight)))

    def _fly(self, flight: Flight, generation: Generation[C]) -> Flow[None]:
        """Fetch a token. The flight is settled in any case, because others wait for it."""
        try:
            ask = self._calls.ask(flight.wanted)
            answer = yield Post(ask, self._context(generation))
            issued = read_answer(ask, answer, self._cache.now())
        except ExchangeFailedError as failure:
            self._cache.failed(flight, failure)
        except BaseException as error:
            self._cache.failed(flight, no_answer(error))
            raise
        else:
            self._cache.landed(flight, issued)

    def _transaction(
        self, ask: Ask, issuer: Issuer, generation: Generation[C]
    ) -> Flow[Transaction]:
        started = self._cache.admit(issuer.url, ask.audience)
        try:
            answer = yield Post(ask, self._context(generation))
            issued = read_answer(ask, answer, self._cache.now())
        except ExchangeFailedError as failure:
            raise self._cache.unanswered(issuer.url, ask.audience, failure, started) from None
        except BaseException as error:
            self._cache.unanswered(issuer.url, ask.audience, no_answer(error), started)
            raise
        self._cache.answered(issuer.url)
        return transactions.begun(issued)

    def _ready_before(self, callee: str, generation: Generation[C]) -> Ready[C] | None:
        before = self._generations.before(generation)
        if before is None:
            return None
        try:
            call = self._calls.call(callee, before)
        except LookupError:
            return None
        token = self._cache.live(call.wanted) if call.wanted is not None else None
        if token is None or not self._generations.use(before):
            return None
        return Ready(call, token)

    def _context(self, generation: Generation[C]) -> ssl.SSLContext:
        return generation.contexts[self._calls.issuer(generation.snapshot).expected]


def no_answer(error: BaseException) -> ExchangeFailedError:
    """Return the failure of a request without an answer.

    It contains only the kind of the error, because the error's text may quote the request, and the
    identity of a wrong server.
    """
    kind = type(error).__name__
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, WrongServerError):
            return ExchangeFailedError("wrong-server", cause.verify_message)
        if isinstance(cause, ssl.SSLError) and type(getattr(cause, "reason", None)) is str:
            kind = f"TLS: {cause.reason}"
        cause = cause.__cause__ or cause.__context__
    return ExchangeFailedError("unreachable", f"no answer ({kind})")
