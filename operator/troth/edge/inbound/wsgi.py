"""WSGI middleware: a request reaches the application only with a verified `Caller`.

WSGI has no TLS state and folds header names. The workers in `troth.edge.frameworks.gunicorn` add
the peer's certificate and the unmodified headers to the environment. Without the certificate there
is no caller. Without the headers no gateway is trusted: a gateway might not remove a client's
`X_Forwarded_Client_Cert`, and WSGI folds it into the name of the gateway's own header.
"""

from collections.abc import Callable, Iterable, Iterator
from contextvars import Token
from typing import Any

from troth.edge.identity.files import Identity
from troth.edge.inbound import problems
from troth.edge.inbound.caller import CALLER, Caller
from troth.edge.inbound.presented import Headers
from troth.edge.inbound.refusal import Refusal
from troth.edge.inbound.server import RequestGuard

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
Application = Callable[[Environ, StartResponse], Iterable[bytes]]

CALLER_KEY = "troth.caller"
"""Key of the `Caller` in the environment; absent on an exempt path."""

CHAIN_KEY = "troth.client_cert_chain"
"""Key of the client's certificates in the environment: a tuple of PEM, leaf first."""

HEADERS_KEY = "troth.headers"
"""Key of the unmodified headers in the environment: pairs of texts."""

_HEADER = "HTTP_"
_SAID_BY_SERVER = ("REMOTE_USER", "AUTH_TYPE")
"""Keys in which servers of CGI and WSGI put the user that they have authenticated (RFC 3875)."""


class TrothMiddleware:
    """Guards a WSGI application.

    The `Caller` is in `environ["troth.caller"]` and in `troth.edge.inbound.caller.CALLER`.
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

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Serve or reject one request."""
        came = environ.pop(HEADERS_KEY, None)
        judged = self._guard.judge(
            environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", ""),
            tuple(environ.get(CHAIN_KEY, ())),
            _folded(environ) if came is None else _encoded(came),
            distinct=came is not None,
        )
        environ.pop(CALLER_KEY, None)
        if isinstance(judged.caller, Refusal):
            return _refuse(judged.caller, start_response)
        self._strip(environ, bearer=judged.bearer)
        if judged.caller is not None:
            environ[CALLER_KEY] = judged.caller
        reset = CALLER.set(judged.caller)
        try:
            answer = self._app(environ, start_response)
        except BaseException:
            CALLER.reset(reset)
            raise
        return _Answer(answer, reset)

    def _strip(self, environ: Environ, *, bearer: bool) -> None:
        """Remove or rename identity headers, and what a server says of an authentication."""
        for key in _SAID_BY_SERVER:
            environ.pop(key, None)
        allowed: list[tuple[str, str]] = []
        for key in [key for key in environ if key.startswith(_HEADER)]:
            name = _name(key)
            renamed = self._guard.stripping.renamed(name, bearer=bearer)
            if renamed != name:
                value = environ.pop(key)
                if renamed is not None:
                    allowed.append((_key(renamed), value))
        for key, value in allowed:  # equal ones are joined, as servers do
            environ[key] = f"{environ[key]},{value}" if key in environ else value


class _Answer:
    """Response of an application. The caller is set while the response is produced."""

    def __init__(self, answer: Iterable[bytes], reset: Token[Caller | None]) -> None:
        self._answer = answer
        self._reset = reset

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._answer)

    def close(self) -> None:
        """Close the response. The server calls this after sending it (PEP 3333)."""
        try:
            close = getattr(self._answer, "close", None)
            if close is not None:
                close()
        finally:
            CALLER.reset(self._reset)


def caller_of(environ: Environ) -> Caller | None:
    """Return the caller, None on an exempt path or without middleware."""
    caller = environ.get(CALLER_KEY)
    return caller if isinstance(caller, Caller) else None


def _encoded(headers: Iterable[tuple[str, str]]) -> Headers:
    return [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]


def _folded(environ: Environ) -> Headers:
    return [
        (_name(key), value.encode("latin-1"))
        for key, value in environ.items()
        if key.startswith(_HEADER)
    ]


def _name(key: str) -> bytes:
    return key.removeprefix(_HEADER).replace("_", "-").lower().encode("latin-1")


def _key(name: bytes) -> str:
    return _HEADER + name.decode("latin-1").upper().replace("-", "_")


def _refuse(refusal: Refusal, start_response: StartResponse) -> Iterable[bytes]:
    body = problems.body(refusal)
    status = refusal.status
    start_response(f"{status.value} {status.phrase}", problems.headers(refusal, len(body)))
    return [body]
