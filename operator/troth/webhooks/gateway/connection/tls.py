"""Server TLS of the gateway: its mounted certificate, and the roots of client certificates.

A server keeps one TLS context, to which roots can be added but not removed. So every handshake
switches to a context made from the current files and roots. A client certificate is requested only
if an endpoint pins one. TLS verifies that it chains to a root of any endpoint and that the sender
has its key. Each request then checks whether its endpoint accepts the certificate (`source`), so a
change also affects open connections.

Senders are foreign programs, so TLS 1.2 is accepted. Of a kubelet's mount only the target of its
link `..data` is read, which is one version of both files.
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
    """TLS from `tls.crt` and `tls.key` of a directory, reread when they change, and the roots
    (PEM).

    `context` is made once, for the server.
    """

    def __init__(self, directory: Path, authorities: Callable[[], Iterable[str]]) -> None:
        """Raise `TLSFilesError` for unusable files."""
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
        """Use changed files and roots, and return whether there were any.

        If new files are unusable, the previous ones stay in use.
        """
        seen, roots = _look(self._directory), self._wanted()
        if (seen, roots) == (self._seen, self._roots):
            return False
        try:
            self._newest = _made(self._directory, roots)
        except TLSFilesError as error:
            if str(error) != self._refused:
                log.warning("TLS files unusable", directory=str(self._directory), why=str(error))
            self._refused = str(error)  # checked again: they may be half written
            return False
        self._seen, self._roots, self._refused = seen, roots, ""
        self._ask()
        log.info("TLS files read", directory=str(self._directory), authorities=len(roots))
        return True

    def _wanted(self) -> frozenset[str]:
        return frozenset(self._authorities())

    def _ask(self) -> None:
        """Make new connections request a certificate, or not.

        Switching the context (`SSL_set_SSL_CTX`) changes everything else, but a connection keeps
        the verify mode of its first context.
        """
        self.context.verify_mode = self._newest.verify_mode

    def _hand_on(self, connection: ssl.SSLObject, _name: str | None, _: ssl.SSLContext) -> None:
        """Switch the context; called during every handshake, with or without a server name."""
        connection.context = self._newest


def _bare() -> ssl.SSLContext:
    """Return a context without resumption, which would skip verification of the certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.num_tickets = 0
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    return context


def _made(directory: Path, roots: Iterable[str]) -> ssl.SSLContext:
    """Return a context with the files and the roots; raises `TLSFilesError` for the files."""
    place = directory / "..data"
    place = place.resolve() if place.exists() else directory
    context = _bare()
    try:
        context.load_cert_chain(place / "tls.crt", place / "tls.key")
    except (OSError, ValueError) as error:  # SSLError is an OSError; no text quotes the file
        kind = getattr(error, "reason", None) or getattr(error, "strerror", None) or "unreadable"
        raise TLSFilesError(f"tls.crt and tls.key cannot be used: {kind}") from None
    for pem in roots:
        context.verify_mode = ssl.CERT_OPTIONAL
        try:
            context.load_verify_locations(cadata=pem)
        except (OSError, ValueError):  # only the endpoint with this root rejects its senders
            log.warning("client certificate authorities unusable")
    return context


def _look(directory: Path) -> Look:
    return look_at(directory / name for name in ("tls.crt", "tls.key"))
