"""The issuer's TLS files: its certificate, and the roots that verify its callers."""

import ssl
from hashlib import sha256
from pathlib import Path

import structlog

from troth.edge.identity.server_tls import load, unloaded
from troth.serving.tls_files import TLSFiles

log = structlog.get_logger()


class IssuerTLS(TLSFiles):
    """Follows `tls.crt`, `tls.key` and `ca.crt` of a directory.

    `roots` identifies the set of roots that verify new connections.
    """

    names = ("tls.crt", "tls.key", "ca.crt")
    unusable = "tls.crt, tls.key and ca.crt cannot be used: {}"

    def __init__(self, directory: Path) -> None:
        """Load the files; raises `TLSFilesError` if they cannot be used."""
        self.roots = ""
        super().__init__(directory, unloaded(require_client=False))

    def look(self) -> bool:
        """Load changed files; return whether the roots changed."""
        before = self.roots
        return super().look() and self.roots != before

    def _load(self, place: Path) -> ssl.SSLContext:
        context = unloaded(require_client=False)
        roots = (place / "ca.crt").read_bytes()
        load(context, place / "tls.crt", place / "tls.key", roots)
        self.roots = sha256(roots).hexdigest()[:16]
        return context

    def _loaded(self) -> None:
        log.info("TLS files read", directory=str(self._directory), roots=self.roots)
