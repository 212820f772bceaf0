"""WSGI middleware: a request reaches the application with a verified `Caller`, or not at all.

WSGI knows no TLS and folds header names: the peer's certificate and the headers as they came are
put into the environment by the workers in `troth.edge.frameworks.gunicorn`. Without the former
nobody has a certificate; without the latter no gateway's word counts, since
`X_Forwarded_Client_Cert` looks the same there as the header that the gateway strips.
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
"""Where the environment has the `Caller`; not there for an exempt path."""

CHAIN_KEY = "troth.client_cert_chain"
"""Where a server puts the client's certificates: a tuple of PEM, leaf first."""

HEADERS_KEY = "troth.headers"
"""Where a server puts the headers as they came: pairs of texts, every one of them."""

_HEADER = "HTTP_"


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
    ) -> None:
        """`port` is the port's name in the ServiceIdentity. `exempt` are paths, whole, that anybody
        may call without being known, such as a probe's; `strip` are more headers to take away.
        """
        self._app = app
        self._guard = RequestGuard(identity, port, exempt=exempt, strip=strip)

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Serve, or refuse, one request."""
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
        for key in [key for key in environ if key.startswith(_HEADER)]:
            if self._guard.stripping.drops(_name(key), bearer=judged.bearer):
                del environ[key]
        if judged.caller is not None:
            environ[CALLER_KEY] = judged.caller
        reset = CALLER.set(judged.caller)
        try:
            answer = self._app(environ, start_response)
        except BaseException:
            CALLER.reset(reset)
            raise
        return _Answer(answer, reset)


class _Answer:
    """An application's answer, for as long as it is produced the caller is known."""

    def __init__(self, answer: Iterable[bytes], reset: Token[Caller | None]) -> None:
        self._answer = answer
        self._reset = reset

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._answer)

    def close(self) -> None:
        """Is called by the server at the end (PEP 3333)."""
        try:
            close = getattr(self._answer, "close", None)
            if close is not None:
                close()
        finally:
            CALLER.reset(self._reset)


def caller_of(environ: Environ) -> Caller | None:
    """Who calls, None for an exempt path or where there is no middleware."""
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


def _refuse(refusal: Refusal, start_response: StartResponse) -> Iterable[bytes]:
    body = problems.body(refusal)
    status = refusal.status
    start_response(f"{status.value} {status.phrase}", problems.headers(refusal, len(body)))
    return [body]
