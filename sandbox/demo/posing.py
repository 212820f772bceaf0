"""Requests by whoever has the files of an identity, with whatever headers it likes.

It shows that identity's certificate, and asks the issuer for tokens as a client does. What it then
sends is not `troth.edge`'s doing but its own.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, NamedTuple

import httpx

from sandbox.demo.chain import Files
from sandbox.demo.errors import DemoError
from sandbox.demo.names import LOOPBACK
from troth.edge.outbound import exchange
from troth.edge.outbound.exchange import Answer, Ask
from troth.edge.outbound.servers import Expected, client_context

SECONDS = 30.0


class Answered(NamedTuple):
    """What a service answered: what it was told, or else the problem's code and sentence."""

    status: int
    told: Mapping[str, Any]
    code: str = ""
    sentence: str = ""


@contextmanager
def answered(who: str) -> Iterator[None]:
    """Have a request to somebody that gets no answer end as `DemoError`."""
    try:
        yield
    except httpx.HTTPError as error:
        raise DemoError(f"{who} did not answer: {error}") from error


class Poser:
    """Somebody with an identity's files."""

    def __init__(self, files: Files, issuer: int) -> None:
        """`issuer` is the issuer's port of loopback."""
        self.identity = files.identity().current
        self._issuer = issuer

    @property
    def spiffe_id(self) -> str:
        """As whom it poses."""
        return self.identity.spiffe_id

    @property
    def issuer(self) -> str:
        """The URL of the issuer, as tokens have it."""
        return self.identity.issuers[self.identity.trust_domain]

    def token(self, audience: str) -> str:
        """Ask for an access token; raises `exchange.ExchangeFailedError` if it is refused."""
        return self._issued(exchange.access_by_certificate(self.issuer, audience))

    def transaction(self, subject: str, tenant: str, scopes: Iterable[str]) -> str:
        """Begin a transaction; raises as `token` does."""
        return self._issued(
            exchange.transaction_start(
                self.issuer,
                self.identity.trust_domain,
                subject=subject,
                scopes=scopes,
                context={"tenant": tenant},
                request={},
            )
        )

    def send(
        self, method: str, path: str, headers: Mapping[str, str], *, port: int, callee: str
    ) -> Answered:
        """Send a request to a port of loopback, where `callee` must show its certificate."""
        with answered(callee), self._client(callee) as client:
            answer = client.request(method, f"https://{LOOPBACK}:{port}{path}", headers=headers)
        if not answer.is_error:
            return Answered(answer.status_code, answer.json()[0])
        if answer.headers.get("content-type") != "application/problem+json":
            return Answered(answer.status_code, {}, sentence=answer.text)
        problem = answer.json()
        return Answered(answer.status_code, {}, problem["code"], problem["detail"])

    def _issued(self, ask: Ask) -> str:
        issuer = self.identity.issuer_ids[self.identity.trust_domain]
        with answered(issuer), self._client(issuer) as client:
            answer = client.post(
                f"https://{LOOPBACK}:{self._issuer}/token", content=ask.body, headers=ask.headers
            )
        read = Answer(answer.status_code, answer.headers["content-type"], "", answer.content)
        return exchange.read_answer(ask, read, datetime.now(UTC)).token

    def _client(self, server: str) -> httpx.Client:
        pair = (self.identity.tls_crt, self.identity.tls_key)
        context = client_context(self.identity.anchors, Expected.exactly(server), pair)
        context.check_hostname = False  # a port of loopback has no name; its SPIFFE ID is checked
        return httpx.Client(verify=context, trust_env=False, timeout=SECONDS)
