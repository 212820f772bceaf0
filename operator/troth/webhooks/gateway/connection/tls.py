"""The gateway's TLS for senders: its certificate as mounted, and the roots of client certificates.

A server is given one context and keeps it, while roots can be added to a context and never taken
away. So every handshake is handed on to a context made of what there was at the last look. A client
certificate is asked for only where an endpoint pins one; verified here is that a root of any of
them has issued it, and that the sender has its key. Which endpoint it is good for is asked anew
with each request (`source`), so that what was true when a connection began is nothing to later
ones.

Senders are whoever they are: TLS 1.2 is spoken with them. Of a kubelet's mount only what its link
`..data` points to is read, which is one version of both files.
"""

import ssl
from collections.abc import Callable, Iterable
from pathlib import Path

import structlog

from troth.edge.identity.file_stat import Look, look_at

log = structlog.get_logger()


class TLSFilesError(Exception):
    """The files of a directory are not a certificate and its key."""


class SenderTLS:
    """`tls.crt` and `tls.key` of a directory, followed, with the authorities of client certificates
    (PEM) as they are at each look.

    `context` is for the server, and made once.
    """

    def __init__(self, directory: Path, authorities: Callable[[], Iterable[str]]) -> None:
        """Raise `TLSFilesError` where the files cannot be used."""
        self._directory = directory
        self._authorities = authorities
        self._seen = _look(directory)
        self._roots = self._wanted()
        self._newest = _made(directory, self._roots)
        self._refused = ""
        self.context = _bare()
        self.context.sni_callback = self._hand_on
        self._ask()

    def look(self) -> bool:
        """Take up what has changed, and say whether something has.

        Where the new files cannot be used, the last ones go on being used.
        """
        seen, roots = _look(self._directory), self._wanted()
        if (seen, roots) == (self._seen, self._roots):
            return False
        try:
            self._newest = _made(self._directory, roots)
        except TLSFilesError as error:
            if str(error) != self._refused:
                log.warning("TLS files unusable", directory=str(self._directory), why=str(error))
            self._refused = str(error)  # and look again: they may be half written
            return False
        self._seen, self._roots, self._refused = seen, roots, ""
        self._ask()
        log.info("TLS files read", directory=str(self._directory), authorities=len(roots))
        return True

    def _wanted(self) -> frozenset[str]:
        return frozenset(self._authorities())

    def _ask(self) -> None:
        """Have new connections ask for a certificate or not: OpenSSL hands on everything but that.

        `SSL_set_SSL_CTX` leaves a connection the mode that its first context had when it began.
        """
        self.context.verify_mode = self._newest.verify_mode

    def _hand_on(self, connection: ssl.SSLObject, _name: str | None, _: ssl.SSLContext) -> None:
        """Is called within every handshake, whether the client names a server or not."""
        connection.context = self._newest


def _bare() -> ssl.SSLContext:
    """Without resumption: a resumed session brings a certificate that nobody verifies again."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.num_tickets = 0
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    return context


def _made(directory: Path, roots: Iterable[str]) -> ssl.SSLContext:
    """Return a context of the files and the roots; raises `TLSFilesError` for the files."""
    place = directory / "..data"
    place = place.resolve() if place.exists() else directory
    context = _bare()
    try:
        context.load_cert_chain(place / "tls.crt", place / "tls.key")
    except (OSError, ValueError) as error:  # an SSLError is an OSError; none quotes a file
        kind = getattr(error, "reason", None) or getattr(error, "strerror", None) or "unreadable"
        raise TLSFilesError(f"tls.crt and tls.key cannot be used: {kind}") from None
    for pem in roots:
        context.verify_mode = ssl.CERT_OPTIONAL
        try:
            context.load_verify_locations(cadata=pem)
        except (OSError, ValueError):  # then nobody comes to its endpoint, and to the others all do
            log.warning("client certificate authorities unusable")
    return context


def _look(directory: Path) -> Look:
    return look_at(directory / name for name in ("tls.crt", "tls.key"))
