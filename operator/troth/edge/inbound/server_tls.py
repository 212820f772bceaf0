"""TLS for servers: shows the identity's certificate, and asks for that of the client.

A server is given one context and keeps it. So each handshake is handed on to a context made of the
files as they are at that moment: the roots are replaced with the certificate, which could not be
done to a context in use (roots can be added to one and never taken away). Connections that are open
go on undisturbed.
"""

import logging
import ssl
import threading
from collections.abc import Callable
from pathlib import Path

from troth.edge.identity.snapshot import IdentityError, Snapshot

_LOG = logging.getLogger(__name__)


def following(current: Callable[[], Snapshot], *, require_client: bool) -> ssl.SSLContext:
    """A context that follows an identity's files; `troth.edge.identity.files.Identity` says how.

    `current` says what the files are now. Raises `IdentityError`.
    """
    files = _Following(current, require_client=require_client)
    context = _context(current(), require_client=require_client)
    context.sni_callback = files.hand_on
    return context


class _Following:
    """The context of the files as they are, made anew when they change."""

    def __init__(self, current: Callable[[], Snapshot], *, require_client: bool) -> None:
        self._files = current
        self._require_client = require_client
        self._lock = threading.Lock()
        self._snapshot: Snapshot | None = None
        self._context: ssl.SSLContext | None = None

    def hand_on(
        self, connection: ssl.SSLObject | ssl.SSLSocket, _name: str | None, _: ssl.SSLContext
    ) -> None:
        """Is called within every handshake, whether the client names a server or not."""
        connection.context = self._current()

    def _current(self) -> ssl.SSLContext:
        snapshot = self._files()
        with self._lock:
            if self._context is None or snapshot is not self._snapshot:
                try:
                    self._context = _context(snapshot, require_client=self._require_client)
                except IdentityError as error:
                    # They have been replaced since they were looked at; the next look sees it.
                    if self._context is None:
                        raise
                    _LOG.warning("The identity's new files cannot be served yet: %s", error)
                    return self._context
                self._snapshot = snapshot
            return self._context


def _context(snapshot: Snapshot, *, require_client: bool) -> ssl.SSLContext:
    context = unloaded(require_client=require_client)
    try:
        load(context, snapshot.tls_crt, snapshot.tls_key, snapshot.anchors)
    except (OSError, ValueError) as error:
        raise IdentityError(f"tls.crt, tls.key and ca.crt cannot be served: {error}") from error
    return context


def unloaded(*, require_client: bool) -> ssl.SSLContext:
    """A context for servers of Troth's, without certificate and roots: TLS 1.3, and no resumption.

    A resumed session brings the client's certificate along without verifying it again, so a root
    that was taken away would count for as long as a ticket lives.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED if require_client else ssl.CERT_OPTIONAL
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    context.num_tickets = 0
    context.options |= ssl.OP_NO_TICKET
    return context


def load(context: ssl.SSLContext, tls_crt: Path, tls_key: Path, roots: bytes) -> None:
    """Have a context show a certificate, and verify those of clients by `roots` (PEM).

    Raises `OSError`, of which `ssl.SSLError` is one, or `ValueError` for what cannot be used.
    """
    context.load_cert_chain(tls_crt, tls_key)
    context.load_verify_locations(cadata=roots.decode("ascii"))
