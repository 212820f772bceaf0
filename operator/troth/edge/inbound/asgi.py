"""ASGI middleware: a request reaches the application only with a verified `Caller`.

The server passes the peer's certificate in the ASGI TLS extension (asgiref, specs/tls.rst), which
`troth.edge.frameworks.uvicorn` adds. Without the extension there is no certificate, and therefore
no caller.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from typing import Any

from troth.edge.identity.files import Identity
from troth.edge.inbound import problems
from troth.edge.inbound.caller import CALLER, Caller
from troth.edge.inbound.refusal import Refusal
from troth.edge.inbound.server import RequestGuard

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

CALLER_KEY = "troth.caller"
"""Key of the `Caller` in the scope; absent on an exempt path."""

_POLICY_VIOLATION = 1008  # RFC 6455 section 7.4.1
_DENIAL = "websocket.http.response"


class TrothMiddleware:
    """Guards an ASGI application.

    The `Caller` is in `scope["troth.caller"]` and in `troth.edge.inbound.caller.CALLER`. Requests
    and WebSockets are guarded in the same way; lifespan events pass.
    """

    def __init__(
        self,
        app: Application,
        identity: Identity,
        port: str,
        *,
        exempt: Iterable[str] = (),
        strip: Iterable[str] = (),
        allow: Iterable[str] = (),
    ) -> None:
        """Wrap an application.

        `port` is the port's name in the ServiceIdentity. `exempt` are complete paths that need no
        caller, such as a probe's. `strip` are additional headers to remove. `allow` are identity
        headers that the application gets as `Unverified-…`; see `identity_headers`.
        """
        self._app = app
        self._guard = RequestGuard(identity, port, exempt=exempt, strip=strip, allow=allow)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve or reject one connection of the ASGI protocol."""
        kind = scope["type"]
        if kind == "lifespan":
            await self._app(scope, receive, send)
            return
        if kind not in {"http", "websocket"}:
            raise ValueError(f"unsupported type of ASGI connection: {kind}")
        judged = self._guard.judge(scope["path"], chain_of(scope), scope["headers"])
        if isinstance(judged.caller, Refusal):
            await _refuse(judged.caller, scope, receive, send)
            return
        scope = dict(scope, headers=judged.headers)
        # only the middleware may set a caller
        scope.pop(CALLER_KEY, None)
        if judged.caller is not None:
            scope[CALLER_KEY] = judged.caller
        reset = CALLER.set(judged.caller)
        try:
            await self._app(scope, receive, send)
        finally:
            CALLER.reset(reset)


def caller_of(scope: Mapping[str, Any]) -> Caller | None:
    """Return the caller, None on an exempt path or without middleware."""
    caller = scope.get(CALLER_KEY)
    return caller if isinstance(caller, Caller) else None


def chain_of(scope: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the client certificates that TLS verified: PEM, leaf first."""
    tls = (scope.get("extensions") or {}).get("tls")
    # A server may continue despite an invalid certificate, which then identifies no caller.
    if tls is None or tls.get("client_cert_error"):
        return ()
    return tuple(tls.get("client_cert_chain") or ())


async def _refuse(refusal: Refusal, scope: Scope, receive: Receive, send: Send) -> None:
    prefix = "http.response"
    if scope["type"] == "websocket":
        await receive()
        if _DENIAL not in (scope.get("extensions") or {}):
            await send({"type": "websocket.close", "code": _POLICY_VIOLATION})
            return
        prefix = _DENIAL
    body = problems.body(refusal)
    headers = [
        (name.lower().encode("ascii"), value.encode("latin-1"))
        for name, value in problems.headers(refusal, len(body))
    ]
    status = refusal.status.value
    await send({"type": f"{prefix}.start", "status": status, "headers": headers})
    await send({"type": f"{prefix}.body", "body": body})
