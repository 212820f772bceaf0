"""TLS for servers: presents the identity's certificate, and verifies the client's.

A server keeps the context that it starts with. Roots can be added to a context but not removed, so
each handshake switches to a context made from the current files, with the new certificate and the
new roots. Open connections are not affected.
"""

import logging
import ssl
import threading
from collections.abc import Callable
from pathlib import Path

from troth.edge.identity.snapshot import IdentityError, Snapshot

_LOG = logging.getLogger(__name__)


def following(current: Callable[[], Snapshot], *, require_client: bool) -> ssl.SSLContext:
    """Return a context that follows an identity's files; see `troth.edge.identity.files.Identity`.

    `current` returns their content. Raises `IdentityError`.
    """
    files = _CurrentContext(current, require_client=require_client)
    context = _context(current(), require_client=require_client)
    context.sni_callback = files.hand_over
    return context


class _CurrentContext:
    """Returns the context of the current files, and creates a new one when they change."""

    def __init__(self, current: Callable[[], Snapshot], *, require_client: bool) -> None:
        self._files = current
        self._require_client = require_client
        self._lock = threading.Lock()
        self._snapshot: Snapshot | None = None
        self._context: ssl.SSLContext | None = None

    def hand_over(
        self, connection: ssl.SSLObject | ssl.SSLSocket, _name: str | None, _: ssl.SSLContext
    ) -> None:
        """Switch a handshake to the current context, even if the client names no server."""
        connection.context = self._current()

    def _current(self) -> ssl.SSLContext:
        snapshot = self._files()
        with self._lock:
            if self._context is None or snapshot is not self._snapshot:
                try:
                    self._context = _context(snapshot, require_client=self._require_client)
                except IdentityError as error:
                    # the files were replaced after the check; the next check sees it
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
    """Return a context without certificate and roots: TLS 1.3, no resumption.

    A resumed session restores the client's certificate without verifying it again. A removed root
    would stay in effect for the lifetime of a ticket.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED if require_client else ssl.CERT_OPTIONAL
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    context.num_tickets = 0
    context.options |= ssl.OP_NO_TICKET
    return context


def load(context: ssl.SSLContext, tls_crt: Path, tls_key: Path, roots: bytes) -> None:
    """Load a certificate to present, and roots (PEM) that verify clients.

    Raises `OSError` (including `ssl.SSLError`) or `ValueError` for unusable files.
    """
    context.load_cert_chain(tls_crt, tls_key)
    context.load_verify_locations(cadata=roots.decode("ascii"))
