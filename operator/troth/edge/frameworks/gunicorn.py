"""gunicorn with mutual TLS that follows the identity's files.

In gunicorn's configuration file:

    from troth.edge.identity.files import Identity
    from troth.edge.frameworks.gunicorn import settings

    globals().update(settings(Identity()))

The workers add the client's certificates and the unmodified headers to the WSGI environment, where
`troth.edge.inbound.wsgi` reads them. They close connections whose handshake or head does not arrive
in time, because each occupies a thread. They reject a head that is too large (`heads`); gunicorn
bounds what it keeps of one by the number of headers and the size of each.
"""

import socket
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from gunicorn.http.errors import LimitRequestHeaders
from gunicorn.http.message import Request
from gunicorn.workers.base import Worker
from gunicorn.workers.gthread import ThreadWorker
from gunicorn.workers.sync import SyncWorker

from troth.edge.identity.files import Identity
from troth.edge.identity.peer_chain import presented_chain
from troth.edge.inbound.connections.deadlines import Deadlines
from troth.edge.inbound.connections.heads import MAX_HEAD, MAX_HEADERS, is_too_large
from troth.edge.inbound.wsgi import CHAIN_KEY, HEADERS_KEY, Application, Environ, StartResponse

# gunicorn replaces a class whose name ends in SyncWorker by its own threaded worker if threads > 1,
# which would not add the TLS state.
_NAMES = {"sync": "TrothSync", "gthread": "TrothThreads"}


def settings(identity: Identity, worker: str = "gthread") -> dict[str, Any]:
    """Return gunicorn's settings for a server with an identity. `worker` is `gthread` or `sync`."""
    snapshot = identity.current
    return {
        "certfile": str(snapshot.tls_crt),
        "keyfile": str(snapshot.tls_key),
        "ssl_context": _Contexts(identity),
        # no header of a peer changes the scheme or the path of a request
        "forwarded_allow_ips": "",
        "forwarder_headers": "",
        "limit_request_fields": MAX_HEADERS,
        "worker_class": f"{__name__}.{_NAMES[worker]}",
    }


def check_head(request: Request) -> None:
    """Raise gunicorn's error for a head that is too large, which it answers with status 431."""
    if is_too_large(request.method, request.uri, request.headers):
        raise LimitRequestHeaders(f"more than {MAX_HEAD} bytes or {MAX_HEADERS} headers")


class _Contexts:
    """Returns one context for all connections of a process; gunicorn requests one for each."""

    def __init__(self, identity: Identity) -> None:
        self._identity = identity
        self._context: ssl.SSLContext | None = None

    def __call__(self, _conf: object, _default: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
        if self._context is None:
            self._context = self._identity.server_context()
        return self._context


class _TLSWorker(Worker):
    """Adds the TLS state and the headers of a request to its environment."""

    wsgi: Application

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self._request = threading.local()
        self._deadlines = Deadlines()

    def load_wsgi(self) -> None:
        super().load_wsgi()
        self.wsgi = self._with_tls(self.wsgi)

    def _with_tls(self, app: Application) -> Application:
        def with_tls(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
            environ[CHAIN_KEY] = presented_chain(_tls(environ.get("gunicorn.socket")))
            headers = getattr(self._request, "headers", None)
            if headers is not None:
                environ[HEADERS_KEY] = headers
            return app(environ, start_response)

        return with_tls

    @contextmanager
    def _in_time(self, connection: socket.socket) -> Iterator[None]:
        """Require that `_recorded` begins in time, which is when a head is complete."""
        self._request.deadline = self._deadlines.begin(connection)
        try:
            yield
        finally:
            self._deadlines.end(self._request.deadline)

    @contextmanager
    def _recorded(self, request: Request) -> Iterator[None]:
        self._deadlines.end(self._request.deadline)
        check_head(request)
        self._request.headers = list(request.headers)
        try:
            yield
        finally:
            self._request.headers = None


class TrothSync(_TLSWorker, SyncWorker):
    """gunicorn's `sync` worker with TLS state."""

    def handle(self, listener: object, client: socket.socket, addr: object) -> None:
        """Serve one connection."""
        with self._in_time(client):
            super().handle(listener, client, addr)

    def handle_request(self, listener: object, req: Request, client: object, addr: object) -> None:
        """Serve one request."""
        with self._recorded(req):
            super().handle_request(listener, req, client, addr)


class TrothThreads(_TLSWorker, ThreadWorker):
    """gunicorn's `gthread` worker with TLS state."""

    def handle(self, conn: Any) -> object:  # noqa: ANN401 - gunicorn's
        """Serve one connection, until it is idle or ends."""
        with self._in_time(conn.sock):
            return super().handle(conn)

    def handle_request(self, req: Request, conn: object) -> bool:
        """Serve one request; return whether the connection stays open."""
        with self._recorded(req):
            return bool(super().handle_request(req, conn))


def _tls(connection: object) -> ssl.SSLSocket | None:
    return connection if isinstance(connection, ssl.SSLSocket) else None
