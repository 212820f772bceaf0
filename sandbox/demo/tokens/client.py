"""A client with the files of an identity that sends whatever headers it likes.

It presents that identity's certificate and requests tokens from the issuer as `troth.edge` does,
but it builds its requests itself.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, NamedTuple

import httpx

from sandbox.demo.errors import DemoError
from sandbox.demo.loopback import LOOPBACK
from sandbox.demo.tokens.services import Files
from sandbox.demo.trials import Observation
from troth.edge.outbound import exchange
from troth.edge.outbound.exchange import Answer, Ask
from troth.edge.outbound.servers import Expected, client_context

SECONDS = 60.0


class Response(NamedTuple):
    """A service's answer: what it knows of the request, or a problem's code and detail."""

    status: int
    content: Mapping[str, Any]
    code: str = ""
    detail: str = ""

    def observation(self, quote: str = "") -> Observation:
        """Return it as the observation of a trial."""
        facts = {"status": self.status, "code": self.code, **self.content}
        return Observation(facts, (f"{self.status} {self.code}".strip(),), quote or self.detail)


@contextmanager
def answering(server: str) -> Iterator[None]:
    """Raise `DemoError` where a server does not answer."""
    try:
        yield
    except httpx.HTTPError as error:
        raise DemoError(f"{server} did not answer: {error}") from error


class Client:
    """A client with an identity's files."""

    def __init__(self, files: Files, issuer: int) -> None:
        """`issuer` is the issuer's port on loopback."""
        self.identity = files.identity().current
        self._issuer = issuer

    @property
    def spiffe_id(self) -> str:
        """The identity's SPIFFE ID."""
        return self.identity.spiffe_id

    @property
    def issuer(self) -> str:
        """The issuer's URL, as in tokens."""
        return self.identity.issuers[self.identity.trust_domain]

    def token(self, audience: str) -> str:
        """Request an access token; raises `exchange.ExchangeFailedError` if it is rejected."""
        return self._issued(exchange.access_by_certificate(self.issuer, audience))

    def transaction(self, subject: str, tenant: str, scopes: Iterable[str]) -> str:
        """Start a transaction; raises as `token` does."""
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
    ) -> Response:
        """Send a request to a port on loopback, where `callee` must present its certificate."""
        with answering(callee), self._client(callee) as client:
            answer = client.request(method, f"https://{LOOPBACK}:{port}{path}", headers=headers)
        if not answer.is_error:
            return Response(answer.status_code, answer.json()[0])
        if answer.headers.get("content-type") != "application/problem+json":
            return Response(answer.status_code, {}, detail=answer.text)
        problem = answer.json()
        return Response(answer.status_code, {}, problem["code"], problem["detail"])

    def _issued(self, ask: Ask) -> str:
        issuer = self.identity.issuer_ids[self.identity.trust_domain]
        with answering(issuer), self._client(issuer) as client:
            answer = client.post(
                f"https://{LOOPBACK}:{self._issuer}/token", content=ask.body, headers=ask.headers
            )
        read = Answer(answer.status_code, answer.headers["content-type"], "", answer.content)
        return exchange.read_answer(ask, read, datetime.now(UTC)).token

    def _client(self, server: str) -> httpx.Client:
        pair = (self.identity.tls_crt, self.identity.tls_key)
        context = client_context(self.identity.anchors, Expected.exactly(server), pair)
        context.check_hostname = False  # loopback has no name; the SPIFFE ID is checked
        return httpx.Client(verify=context, trust_env=False, timeout=SECONDS)
