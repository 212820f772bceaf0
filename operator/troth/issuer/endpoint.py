"""The token endpoint: a stateless ASGI application that authenticates callers by TLS."""

import json
import time
from collections.abc import Awaitable, Callable, Hashable
from datetime import UTC, datetime
from typing import Protocol

from starlette.applications import Starlette
from starlette.requests import Request as HTTPRequest
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from troth.edge.inbound.connections.limits import peer_address
from troth.issuer import discovery, grants, minting
from troth.issuer.configuration import IssuerConfiguration
from troth.issuer.decisions import ISSUED, Decision, Decisions
from troth.issuer.errors import Code, OAuthError, invalid_request, unavailable
from troth.issuer.forms import LONGEST, check_media_type, parse_form
from troth.issuer.grants import Proof
from troth.issuer.peers import Peers
from troth.issuer.service_accounts.token_review import Account
from troth.issuer.token_request import AccessRequest, Request, TransactionStart, read_request
from troth.issuer.tracing import token_span
from troth.pki.tokens.checks import TokenError, TransactionToken, verify_transaction_token
from troth.serving.tracing import Tracer

RETRY_AFTER = b"1"
"""Seconds after which a caller may retry."""

_UNAVAILABLE = 503
_JSON = "application/json"
_HEADERS = (  # RFC 6749 section 5.1
    (b"content-type", _JSON.encode()),
    (b"cache-control", b"no-store"),
    (b"pragma", b"no-cache"),
)


class Accounts(Protocol):
    """Reviews Kubernetes ServiceAccount tokens; see `token_review.Reviewer`."""

    def account(self, token: str, audience: str, peer: Hashable) -> Awaitable[Account]:
        """Return the account of a token that a peer presents; raises `OAuthError`."""


def utc_now() -> datetime:
    """Return the current time."""
    return datetime.now(UTC)


def app(
    configuration: Callable[[], IssuerConfiguration | None],
    accounts: Accounts,
    decisions: Decisions,
    now: Callable[[], datetime] = utc_now,
    tracer: Tracer | None = None,
) -> ASGIApp:
    """Return the issuer as an ASGI application.

    `configuration` returns what the issuer may issue now. While it returns None, nothing is issued.
    The server must add the ASGI TLS extension to the scope, which identifies callers. `tracer`
    makes the spans of token requests, None for none.
    """
    endpoint = TokenEndpoint(configuration, accounts, decisions, now, tracer)

    def document(
        of: Callable[[IssuerConfiguration], bytes],
    ) -> Callable[[HTTPRequest], Awaitable[Response]]:
        async def serve(_: HTTPRequest) -> Response:
            current = configuration()
            if current is None:
                return Response("the issuer has no configuration yet\n", _UNAVAILABLE)
            return Response(of(current), media_type=_JSON)

        return serve

    about = document(lambda current: discovery.metadata(current.grants))
    others = Starlette(
        routes=[
            Route(discovery.TOKENS, endpoint, methods=["POST"]),
            Route("/.well-known/openid-configuration", about),
            Route("/.well-known/oauth-authorization-server", about),
            Route(discovery.KEYS, document(lambda current: current.key_set)),
            Route(discovery.SPIFFE_BUNDLE, document(lambda current: current.bundle)),
        ]
    )

    async def issuer(scope: Scope, receive: Receive, send: Send) -> None:
        # token requests are frequent, so they bypass Starlette
        asked = scope["type"] == "http" and scope["path"] == discovery.TOKENS
        if asked and scope["method"] == "POST":
            await endpoint(scope, receive, send)
        else:
            await others(scope, receive, send)

    return issuer


class TokenEndpoint:
    """Answers `POST /token`; an ASGI application."""

    def __init__(
        self,
        configuration: Callable[[], IssuerConfiguration | None],
        accounts: Accounts,
        decisions: Decisions,
        now: Callable[[], datetime] = utc_now,
        tracer: Tracer | None = None,
    ) -> None:
        self._configuration = configuration
        self._accounts = accounts
        self._decisions = decisions
        self._now = now
        self._tracer = tracer
        self._peers = Peers()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        decision = Decision()
        with token_span(self._tracer, scope, decision):
            await _send(send, *await self._decided(scope, receive, decision))

    async def _decided(
        self, scope: Scope, receive: Receive, decision: Decision
    ) -> tuple[int, bytes]:
        """Return the status and the answer; record the decision."""
        began = time.perf_counter()
        try:
            body = await _body(scope, receive)
            began = time.perf_counter()
            issued = await self._issued(scope, body, decision)
        except OAuthError as error:
            decision.outcome, decision.reason = error.code.value, error.description
            status, answer = _refusal(error)
        else:
            decision.outcome, decision.token_id = ISSUED, issued.token_id
            decision.scope = issued.scope
            status, answer = 200, issued.answer
        finally:
            self._decisions.record(decision, time.perf_counter() - began)
        decision.status = status
        return status, answer

    async def _issued(self, scope: Scope, body: bytes, decision: Decision) -> minting.Issued:
        parameters = parse_form(body)
        asked = read_request(parameters)
        decision.grant = _kind(asked)
        decision.audience, decision.scope = asked.audience, parameters.get("scope", "")
        proof = await self._proof(asked, scope, decision)
        if parameters.get("client_id", proof.spiffe_id) != proof.spiffe_id:
            raise OAuthError(Code.INVALID_CLIENT, "client_id is not the SPIFFE ID of the caller")
        # read again: an edge may have been removed during the review
        configuration, now = self._current(), self._now()
        if isinstance(asked, AccessRequest):
            access = grants.access(asked, proof, configuration.grants)
            return minting.access_token(access, configuration, now, asked.issued_type)
        if isinstance(asked, TransactionStart):
            transaction = grants.start(asked, proof, configuration.grants, now)
        else:
            original = _verified(asked.token, configuration, now)
            transaction = grants.replace(asked, original, proof, configuration.grants, now)
        return minting.transaction_token(transaction, configuration, now)

    async def _proof(self, asked: Request, scope: Scope, decision: Decision) -> Proof:
        """Return the identity that the caller has proved; raises `OAuthError`."""
        granted = self._current().grants
        shown = self._peers.proof(scope, granted.trust_domain, self._now())
        if shown is not None:
            decision.caller = shown.spiffe_id
        if isinstance(asked, AccessRequest) and asked.account_token is not None:
            account = await self._accounts.account(
                asked.account_token, granted.issuer, _address(scope)
            )
            proof = Proof(account.spiffe_id(granted.trust_domain))
            if shown is None:
                decision.caller = proof.spiffe_id
                return proof
            if shown.spiffe_id != proof.spiffe_id:
                raise OAuthError(
                    Code.INVALID_GRANT,
                    "the certificate and the subject token belong to different callers",
                )
        if shown is None:
            raise OAuthError(
                Code.INVALID_CLIENT,
                "present an X.509-SVID of this trust domain when connecting, or exchange a "
                "ServiceAccount token",
            )
        return shown

    def _current(self) -> IssuerConfiguration:
        configuration = self._configuration()
        if configuration is None:
            raise unavailable("the issuer has no configuration yet; try again")
        return configuration


def _address(scope: Scope) -> Hashable:
    """Return the address of the peer, None if it is unknown."""
    client = scope.get("client")
    return peer_address(client[0]) if client else None


async def _body(scope: Scope, receive: Receive) -> bytes:
    """Return the body of a request; raises `OAuthError`."""
    _check_headers(scope)
    body = bytearray()
    while True:  # the server closes connections whose body does not arrive
        message = await receive()
        if message["type"] != "http.request":
            raise invalid_request("the request was interrupted")
        body += message.get("body", b"")
        if len(body) > LONGEST:
            raise invalid_request(f"the body is longer than {LONGEST} bytes")
        if not message.get("more_body", False):
            return bytes(body)


def _check_headers(scope: Scope) -> None:
    """Raise `invalid_request` if a request carries input outside a plain form."""
    if scope["query_string"]:
        raise invalid_request("send parameters in the body; URLs end up in logs")
    types = []
    for name, value in scope["headers"]:
        if name == b"content-type":
            types.append(value.decode("latin-1"))
        elif name == b"authorization":
            raise invalid_request(
                "callers authenticate with certificates; remove the Authorization header"
            )
        elif name == b"content-encoding":
            raise invalid_request("send the form uncompressed")
    check_media_type(types[0] if len(types) == 1 else None)


def _verified(token: str, configuration: IssuerConfiguration, now: datetime) -> TransactionToken:
    """Return the claims of a transaction token to replace; raises `invalid_grant`."""
    try:
        return verify_transaction_token(
            token,
            bundle=configuration.verifying,
            issuer=configuration.grants.issuer,
            now=now.timestamp(),
        )
    except TokenError as error:
        raise OAuthError(
            Code.INVALID_GRANT, f"the transaction token is invalid: {error.reason}"
        ) from None


def _kind(asked: Request) -> str:
    match asked:
        case AccessRequest(account_token=None):
            return "client_credentials"
        case AccessRequest():
            return "service_account"
        case TransactionStart():
            return "transaction_start"
        case _:
            return "transaction_replacement"


def _refusal(error: OAuthError) -> tuple[int, bytes]:
    """Return the status and the answer of RFC 6749, section 5.2.

    An unknown caller also gets 400: 401 requires a challenge (RFC 9110, section 15.5.2), and there
    is none for certificates.
    """
    status = _UNAVAILABLE if error.code is Code.TEMPORARILY_UNAVAILABLE else 400
    answer = {"error": error.code.value, "error_description": error.description}
    return status, json.dumps(answer).encode()


async def _send(send: Send, status: int, answer: bytes) -> None:
    headers = [*_HEADERS, (b"content-length", str(len(answer)).encode())]
    if status == _UNAVAILABLE:
        headers.append((b"retry-after", RETRY_AFTER))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": answer})
