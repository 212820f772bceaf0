"""The gateway's TLS for senders: its certificate, and the authorities of client certificates.

The gateway requests a client certificate only while an endpoint pins one. TLS verifies that an
authority of any endpoint issued it, and that the sender has its key. Because a connection may be
old, the gateway verifies the certificate for the endpoint again on each request (`source`).

The gateway supports TLS 1.2, because senders choose their TLS stack.
"""

import ssl
from collections.abc import Callable, Iterable
from pathlib import Path

import structlog

from troth.serving.tls_files import TLSFiles

log = structlog.get_logger()


class SenderTLS(TLSFiles):
    """TLS context from `tls.crt` and `tls.key` of a directory, and client certificate authorities.

    It is reloaded when they change.
    """

    names = ("tls.crt", "tls.key")
    unusable = "tls.crt and tls.key cannot be used: {}"

    def __init__(self, directory: Path, authorities: Callable[[], Iterable[str]]) -> None:
        """Load the files; raises `TLSFilesError` if they are unusable. `authorities` are in PEM."""
        self._authorities = authorities
        self._roots = frozenset[str]()
        super().__init__(directory, _unloaded())
        self._request_certificates()

    def _changed(self) -> bool:
        return frozenset(self._authorities()) != self._roots

    def _load(self, place: Path) -> ssl.SSLContext:
        roots = frozenset(self._authorities())
        context = _unloaded()
        context.load_cert_chain(place / "tls.crt", place / "tls.key")
        for pem in roots:
            context.verify_mode = ssl.CERT_OPTIONAL
            try:
                context.load_verify_locations(cadata=pem)
            except (OSError, ValueError):  # only this endpoint rejects all requests
                log.warning("client certificate authorities unusable")
        self._roots = roots
        return context

    def _loaded(self) -> None:
        self._request_certificates()
        log.info("TLS files read", directory=str(self._directory), authorities=len(self._roots))

    def _request_certificates(self) -> None:
        """Set whether new connections request a client certificate.

        `SSL_set_SSL_CTX` keeps the verify mode of a connection's first context, and takes all else
        from the new context.
        """
        self.context.verify_mode = self._newest.verify_mode


def _unloaded() -> ssl.SSLContext:
    """Return a context without resumption, which would skip client certificates."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.num_tickets = 0
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    return context
