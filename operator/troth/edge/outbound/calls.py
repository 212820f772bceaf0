"""The callees of a client, and the credentials for each request.

The program maps addresses to callees. `identity.json` lists the callees that this workload may
call, their SPIFFE IDs, and whether they require a token. Requests to any other address carry
nothing of this identity: no certificate, no token, no transaction.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from ssl import SSLContext
from typing import Generic
from urllib.parse import urljoin, urlsplit

from troth.documents.identity.document import Called
from troth.edge.identity.files import Identity
from troth.edge.identity.snapshot import Snapshot
from troth.edge.inbound.caller import CALLER
from troth.edge.outbound.connections import C, Generation, Generations
from troth.edge.outbound.exchange import (
    Ask,
    ExchangeFailedError,
    access_by_account,
    access_by_certificate,
)
from troth.edge.outbound.failures import NoIssuerError, RedirectRefusedError, UnknownCalleeError
from troth.edge.outbound.servers import Expected
from troth.edge.outbound.tokens import TokenCache, Wanted
from troth.edge.outbound.transactions import TXN_TOKEN, checked, current_token
from troth.edge.trace_context import TRACEPARENT, TRACESTATE, current_trace
from troth.pki.spiffe import trust_domain_of

AUTHORIZATION = "Authorization"

_HTTPS = 443
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_URI = re.compile(r"[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]*")  # RFC 3986 section 2
_SECURE = frozenset({"https", "wss"})


class Hidden(str):
    """A header's value that `repr` hides, because aiohttp's errors contain request headers."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'…'"


@dataclass(frozen=True, slots=True)
class Issuer:
    """Issuer of a client's tokens, and the server identity to expect there."""

    url: str
    expected: Expected


@dataclass(frozen=True, slots=True)
class Call(Generic[C]):
    """One request to a callee, to be sent on a connection of one generation."""

    spiffe_id: str
    generation: Generation[C]
    wanted: Wanted | None
    """The required token, None for a callee that requires only mTLS."""

    @property
    def expected(self) -> Expected:
        """The server identity that the connection must verify."""
        return Expected.exactly(self.spiffe_id)

    def headers(self, given: Callable[[str], str | None], token: str | None) -> dict[str, str]:
        """Return the headers to set; `given` looks up a header that the program has set itself.

        Only callees of this trust domain get a `Txn-Token`: others could not verify it and must not
        read it. Trace headers that the program has set are not changed. Without them, the call
        continues the program's current OpenTelemetry span, else the trace of the request that it
        serves. Raises `ValueError` for a malformed `Txn-Token` of the program.
        """
        headers: dict[str, str] = {}
        if token is not None:
            headers[AUTHORIZATION] = Hidden(f"Bearer {token}")
        transaction = given(TXN_TOKEN) or current_token()
        own = self.generation.snapshot.trust_domain
        if transaction is not None and trust_domain_of(self.spiffe_id) == own:
            headers[TXN_TOKEN] = Hidden(checked(transaction))
        if given(TRACEPARENT) is None and given(TRACESTATE) is None:
            caller = CALLER.get()
            trace = current_trace() or (caller.trace if caller is not None else None)
            headers |= trace.headers if trace is not None else {}
        return headers


class Calls(Generic[C]):
    """The calls of one client.

    `callees` maps origins (`https://ledger.finance.svc:8443`) to callees, by their `name` or SPIFFE
    ID in `identity.json`. Raises `ValueError` for anything that is not an origin. `account_token`
    is the path of a projected ServiceAccount token for the issuer. With it, the workload
    authenticates to the issuer without its certificate, and the tokens are not bound.
    """

    def __init__(
        self,
        identity: Identity,
        callees: Mapping[str, str],
        connect: Callable[[SSLContext], C],
        account_token: Path | None = None,
        cache: TokenCache | None = None,
    ) -> None:
        self._callees = {_origin(url): callee for url, callee in callees.items()}
        self._account_token = account_token
        self.generations = Generations(identity, self._servers, connect)
        self.cache = cache or TokenCache()

    def callee_at(self, scheme: str, host: str, port: int | None) -> str | None:
        """Return the callee at an address, None if the address has none."""
        if scheme not in _SECURE:
            return None
        return self._callees.get((host.lower(), port or _HTTPS))

    def check_redirect(self, callee: str, url: str, status: int, location: str | None) -> None:
        """Raise `RedirectRefusedError` if one callee redirects to another."""
        if location is None or status not in _REDIRECTS:
            return
        try:
            target = urlsplit(urljoin(url, location))
            other = self.callee_at(target.scheme, target.hostname or "", target.port)
        except ValueError:
            other = None
        # Parsers may read such a URL differently, so it could lead elsewhere.
        if _URI.fullmatch(location) is None:
            raise RedirectRefusedError(callee, "an invalid URL")
        if other not in (None, callee):
            raise RedirectRefusedError(callee, str(other))

    def call(self, callee: str, generation: Generation[C]) -> Call[C]:
        """Return a call of a callee; raises `UnknownCalleeError`."""
        found = _listed(callee, generation.snapshot)
        if found is None:
            raise UnknownCalleeError(callee)
        if found.token is None:
            return Call(found.spiffe_id, generation, None)
        wanted = Wanted(
            self.issuer(generation.snapshot).url,
            found.token.audience,
            tuple(sorted(found.token.scopes)),
            generation.thumbprint if self._account_token is None else None,
        )
        return Call(found.spiffe_id, generation, wanted)

    def issuer(self, snapshot: Snapshot) -> Issuer:
        """Return the issuer of this workload's tokens; raises `NoIssuerError`."""
        issuer = _issuer(snapshot)
        if issuer is None:
            raise NoIssuerError(snapshot.trust_domain)
        return issuer

    def ask(self, wanted: Wanted) -> Ask:
        """Return the request for a token; raises `ExchangeFailedError`."""
        if self._account_token is None:
            return access_by_certificate(wanted.issuer, wanted.audience)
        try:
            token = self._account_token.read_text("ascii")
        except (OSError, ValueError):
            raise ExchangeFailedError(
                "account-token", "the ServiceAccount token cannot be read"
            ) from None
        return access_by_account(wanted.issuer, wanted.audience, token)

    def _servers(self, snapshot: Snapshot) -> Iterator[tuple[Expected, bool]]:
        for callee in self._callees.values():
            found = _listed(callee, snapshot)
            if found is not None:
                yield Expected.exactly(found.spiffe_id), True
        issuer = _issuer(snapshot)
        if issuer is not None:
            # With the certificate, the token would be bound to it.
            yield issuer.expected, self._account_token is None


def _listed(callee: str, snapshot: Snapshot) -> Called | None:
    found = (each for each in snapshot.document.calls if callee in (each.name, each.spiffe_id))
    return next(found, None)


def _issuer(snapshot: Snapshot) -> Issuer | None:
    own = snapshot.trust_domain
    url = snapshot.issuers.get(own)
    if url is None:
        return None
    named = snapshot.issuer_ids.get(own)
    return Issuer(url, Expected.exactly(named) if named else Expected.issuer(url, own))


def _origin(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    beside = parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc
    if parts.scheme != "https" or not parts.hostname or beside:
        said = "a URL with a user name" if "@" in url else repr(url)
        raise ValueError(f"{said} is not an origin; write https://<host>[:<port>]")
    return parts.hostname, parts.port or _HTTPS
