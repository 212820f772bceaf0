"""The issuer's TLS: its certificate, and the roots by which it knows its callers, as mounted.

A server is given one context and keeps it, while roots that are dropped must stop counting at once:
roots can be added to a context in use and never taken away. So every handshake is handed on to a
context made of the files as they were at the last look. Of a kubelet's mount only what its link
`..data` points to is read, which is one version of all files.
"""

import ssl
from hashlib import sha256
from pathlib import Path

import structlog

from troth.edge.identity.file_stat import Look, look_at
from troth.edge.inbound.server_tls import load, unloaded

log = structlog.get_logger()


class TLSFilesError(Exception):
    """The files of a directory are not a certificate, its key and roots to verify callers by."""


class TLSFiles:
    """`tls.crt`, `tls.key` and `ca.crt` of a directory, followed.

    `context` is for the server, and made once. `roots` identifies the set of roots that new
    connections are verified by; it changes with them.
    """

    def __init__(self, directory: Path) -> None:
        """Raise `TLSFilesError` where the files cannot be used."""
        self._directory = directory
        self._seen = _look(directory)
        self._newest, self.roots = _made(directory)
        self._refused = ""
        self.context = unloaded(require_client=False)
        self.context.sni_callback = self._hand_on

    def look(self) -> bool:
        """Take up files that have changed; say whether the roots are others than before.

        Where the new files cannot be used, the last ones go on being used.
        """
        seen, before = _look(self._directory), self.roots
        if seen == self._seen:
            return False
        try:
            self._newest, self.roots = _made(self._directory)
        except TLSFilesError as error:
            if str(error) != self._refused:
                log.warning("TLS files unusable", directory=str(self._directory), why=str(error))
            self._refused = str(error)  # and look again: they may be half written
            return False
        self._seen, self._refused = seen, ""
        log.info("TLS files read", directory=str(self._directory), roots=self.roots)
        return self.roots != before

    def _hand_on(self, connection: ssl.SSLObject, _name: str | None, _: ssl.SSLContext) -> None:
        """Is called within every handshake, whether the client names a server or not."""
        connection.context = self._newest


def _made(directory: Path) -> tuple[ssl.SSLContext, str]:
    """Return a context of the files, and what identifies its roots; raises `TLSFilesError`."""
    place = directory / "..data"
    place = place.resolve() if place.exists() else directory
    context = unloaded(require_client=False)
    try:
        roots = (place / "ca.crt").read_bytes()
        load(context, place / "tls.crt", place / "tls.key", roots)
    except (OSError, ValueError) as error:  # an SSLError is an OSError; none quotes a file
        kind = getattr(error, "reason", None) or getattr(error, "strerror", None) or "unreadable"
        raise TLSFilesError(f"tls.crt, tls.key and ca.crt cannot be used: {kind}") from None
    return context, sha256(roots).hexdigest()[:16]


def _look(directory: Path) -> Look:
    return look_at(directory / name for name in ("tls.crt", "tls.key", "ca.crt"))
