"""Whom a client calls, and what goes with a request.

A program says which address belongs to which callee; `identity.json` says whom this workload may
call at all, by which SPIFFE ID it is known, and whether it wants a token. To every other address
nothing of this identity is sent: no certificate, no token, no transaction.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from ssl import SSLContext
from typing import Generic
from urllib.parse import urljoin, urlsplit

from troth.edge.identity.document import Called
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
from troth.edge.trace_context import TRACEPARENT, TRACESTATE
from troth.pki.spiffe import SPIFFEID

AUTHORIZATION = "Authorization"

_HTTPS = 443
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_URI = re.compile(r"[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]*")  # RFC 3986 section 2
_SECURE = frozenset({"https", "wss"})


class Hidden(str):
    """A header's value that no `repr` shows: aiohttp's errors hold the headers of their request."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'…'"


@dataclass(frozen=True, slots=True)
class Issuer:
    """Where tokens come from, and whose certificate is seen there."""

    url: str
    expected: Expected


@dataclass(frozen=True, slots=True)
class Call(Generic[C]):
    """One request to a callee, to be sent on a connection of one generation."""

    spiffe_id: str
    generation: Generation[C]
    wanted: Wanted | None
    """The token it needs, None for a callee whose pattern is mTLS alone."""

    @property
    def expected(self) -> Expected:
        """Whose certificate its connection must see."""
        return Expected.exactly(self.spiffe_id)

    def headers(self, given: Callable[[str], str | None], token: str | None) -> dict[str, str]:
        """Return the headers to set; `given` looks up one that the program has set itself.

        A `Txn-Token` goes to callees of this trust domain only: others could not verify it, and
        what it says is not theirs to know. Trace headers that are given are left as they are.
        Raises `ValueError` for a `Txn-Token` that is given and is none.
        """
        headers: dict[str, str] = {}
        if token is not None:
            headers[AUTHORIZATION] = Hidden(f"Bearer {token}")
        transaction = given(TXN_TOKEN) or current_token()
        own = self.generation.snapshot.trust_domain
        if transaction is not None and SPIFFEID.parse(self.spiffe_id).trust_domain == own:
            headers[TXN_TOKEN] = Hidden(checked(transaction))
        caller = CALLER.get()
        traced = given(TRACEPARENT) is not None or given(TRACESTATE) is not None
        if caller is not None and caller.trace is not None and not traced:
            headers |= caller.trace.headers
        return headers


class Calls(Generic[C]):
    """The calls of one client.

    `callees` maps origins (`https://ledger.finance.svc:8443`) to callees, by the `name` or the
    SPIFFE ID that `identity.json` has for them; raises `ValueError` for what is no origin.
    `account_token` is the path of a projected ServiceAccount token for the issuer, by which the
    workload proves itself there instead of by its certificate; the tokens are then not bound.
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
        """Return whose address that is, None where it is nobody's who was named."""
        if scheme not in _SECURE:
            return None
        return self._callees.get((host.lower(), port or _HTTPS))

    def check_redirect(self, callee: str, url: str, status: int, location: str | None) -> None:
        """Raise `RedirectRefusedError` for an answer of one callee that leads to another."""
        if location is None or status not in _REDIRECTS:
            return
        try:
            target = urlsplit(urljoin(url, location))
            other = self.callee_at(target.scheme, target.hostname or "", target.port)
        except ValueError:
            other = None
        # What parsers take apart differently could lead elsewhere than it seems to from here.
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
            # With the certificate there too, the token would be bound to it after all.
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
