"""The mounted files of an identity, kept current.

A kubelet replaces a whole mount at once by pointing the link `..data` to a new directory. Other
writers replace one file after another, and a reader may see a mixture. Therefore a set of files is
used only if it did not change during reading and is consistent: the key belongs to the certificate,
the certificate is for the SPIFFE ID in `identity.json`, and the bundles are for its trust domain.
Until there is a new consistent set, the last one stays in use.

Files of schemas are another mount, and may come later than the document that names them. A missing
one does not hold back the rest: only its messages are invalid until it comes.
"""

import logging
import ssl
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from time import monotonic

from cryptography.hazmat.primitives.serialization import Encoding

from troth.documents.event_bundles import FILE as EVENTS_BUNDLE_MAP
from troth.documents.identity.document import Document, DocumentError, parse_document
from troth.documents.secret_keys import IDENTITY_JSON, KEY, LEAF, ROOTS
from troth.edge.identity.file_stat import Look, look_at
from troth.edge.identity.schema_files import schema_texts
from troth.edge.identity.server_tls import following
from troth.edge.identity.snapshot import IdentityError, Snapshot
from troth.pki.bundles.spiffe_bundle import SPIFFEBundle, parse_bundle_map
from troth.pki.certificates.leaf import parse_leaf
from troth.pki.encodings.pem import read_certificates, write_certificates
from troth.pki.errors import PKIError
from troth.pki.keys.private import load_private_key, same_key
from troth.pki.spiffe import SPIFFEID
from troth.pki.tokens.signing import certificate_thumbprint

__all__ = ["BUNDLE", "IDENTITY", "SCHEMAS", "Identity", "IdentityError", "Snapshot"]

IDENTITY = "/var/run/troth/identity"
BUNDLE = "/var/run/troth/bundle"
SCHEMAS = "/var/run/troth/schemas"

LOOK_EVERY = 1.0
"""Seconds between two checks of the files."""

_ATTEMPTS = 3
_LOG = logging.getLogger(__name__)


class Identity:
    """The mounted files of an identity; `current` is their content."""

    def __init__(
        self,
        identity: str | Path = IDENTITY,
        bundle: str | Path = BUNDLE,
        *,
        schemas: str | Path = SCHEMAS,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """Create the identity without reading any file.

        `identity` is the mount of the Secret `<name>-identity`. `bundle` is the mount of the trust
        bundle's ConfigMap. `schemas` is the mount of the ConfigMap `<name>-schemas`, which exists
        only if the schemas of messages do not fit into the Secret.
        """
        secret, bundles = Path(identity), Path(bundle)
        self._document = secret / IDENTITY_JSON
        self._tls_crt = secret / LEAF
        self._tls_key = secret / KEY
        self._ca_crt = secret / ROOTS
        self._bundles = bundles / "bundle-map.json"
        self._event_bundles = bundles / EVENTS_BUNDLE_MAP
        self._schemas = Path(schemas)
        self._schema_files: tuple[Path, ...] = ()
        self._missing: frozenset[str] = frozenset()
        self._clock = clock
        self._lock = threading.Lock()
        self._snapshot: Snapshot | None = None
        self._seen: Look | None = None
        self._warned: str | None = None
        self._next_look = float("-inf")

    @property
    def current(self) -> Snapshot:
        """Return the content of the files; the same object until the content changes.

        The files are checked at most once a second. Raises `IdentityError` if there has never been
        a consistent set.
        """
        snapshot = self._snapshot
        if snapshot is not None and self._clock() < self._next_look:
            return snapshot
        # One thread checks the files; others use the existing set without waiting.
        if not self._lock.acquire(blocking=snapshot is None):
            assert snapshot is not None
            return snapshot
        try:
            return self._look()
        finally:
            self._lock.release()

    def server_context(self, *, require_client: bool = False) -> ssl.SSLContext:
        """Return a TLS context for a server that presents this identity and follows its files.

        TLS 1.3 only. The server requests a client certificate; an invalid one ends the handshake. A
        client without one is accepted unless `require_client`: the middleware rejects it with a
        reason, or it reaches an exempt path, such as a probe's. Raises `IdentityError`.
        """
        return following(lambda: self.current, require_client=require_client)

    def _look(self) -> Snapshot:
        if self._snapshot is not None and self._clock() < self._next_look:
            return self._snapshot
        self._next_look = self._clock() + LOOK_EVERY
        if self._snapshot is None or self._stat() != self._seen:
            try:
                seen, snapshot = self._read()
            except (OSError, PKIError, DocumentError) as error:
                return self._keep(error)
            self._seen, self._warned = seen, None
            if snapshot != self._snapshot:
                self._snapshot = snapshot
        assert self._snapshot is not None
        return self._snapshot

    def _keep(self, error: Exception) -> Snapshot:
        if self._snapshot is None:
            raise IdentityError(f"the identity's files cannot be used: {error}") from error
        if str(error) != self._warned:
            _LOG.warning(
                "The identity's new files cannot be used; the previous ones stay in use: %s", error
            )
            self._warned = str(error)
        return self._snapshot

    def _stat(self) -> Look:
        secret = (self._document, self._tls_crt, self._tls_key, self._ca_crt)
        return look_at((*secret, self._bundles, self._event_bundles, *self._schema_files))

    def _read(self) -> tuple[Look, Snapshot]:
        for _ in range(_ATTEMPTS):
            before = self._stat()
            snapshot = self._snapshot_of_files()
            # a new document may name other files of schemas, which then are part of the second look
            if before == self._stat():
                return before, snapshot
        raise OSError("they change during every read")

    def _snapshot_of_files(self) -> Snapshot:
        document = parse_document(self._document.read_bytes())
        bundles = parse_bundle_map(self._bundles.read_bytes())
        trust_domain = SPIFFEID.parse(document.spiffe_id).trust_domain
        if trust_domain not in bundles:
            raise DocumentError(f"{self._bundles.name} has no bundle of {trust_domain}")
        anchors = read_certificates(self._ca_crt.read_bytes(), "ca.crt", comments=True)
        return Snapshot(
            spiffe_id=document.spiffe_id,
            trust_domain=trust_domain,
            document=document,
            bundles=bundles,
            event_bundles=self._bundles_for_events(trust_domain, bundles),
            certificate_thumbprint=self._thumbprint(document.spiffe_id),
            anchors=write_certificates(anchors),
            tls_crt=self._tls_crt,
            tls_key=self._tls_key,
            ca_crt=self._ca_crt,
            generation=self._snapshot.generation + 1 if self._snapshot else 0,
            schemas=self._texts(document),
        )

    def _bundles_for_events(
        self, trust_domain: str, live: dict[str, SPIFFEBundle]
    ) -> dict[str, SPIFFEBundle]:
        """Return the bundles that verify events: the live ones if an older operator writes none."""
        try:
            content = self._event_bundles.read_bytes()
        except FileNotFoundError:
            return live
        bundles = parse_bundle_map(content)
        if trust_domain not in bundles:
            raise DocumentError(f"{EVENTS_BUNDLE_MAP} has no bundle of {trust_domain}")
        return bundles

    def _texts(self, document: Document) -> Mapping[str, str]:
        """Return the texts of the schemas by digest; a known one outlives its file."""
        files = document.schema_files
        self._schema_files = tuple(self._schemas / name for name in sorted(files.values()))
        known = self._snapshot.schemas if self._snapshot is not None else {}
        found = schema_texts(self._schemas, files, known)
        missing = frozenset(files[digest] for digest in files.keys() - found.keys())
        if missing - self._missing:
            _LOG.warning(
                "%s: no file with the schema %s, so producers send no messages of it, and "
                "consumers wait with theirs; mount the ConfigMap <identity>-schemas there",
                self._schemas,
                min(missing),
            )
        self._missing = missing
        return {**document.schema_texts, **found}

    def _thumbprint(self, spiffe_id: str) -> str | None:
        if not self._tls_crt.exists() and not self._tls_key.exists():
            return None
        pem = self._tls_crt.read_bytes()
        leaf, *_ = read_certificates(pem, "tls.crt")
        if parse_leaf(pem).spiffe_id != spiffe_id:
            raise DocumentError("tls.crt belongs to another identity than identity.json")
        if not same_key(leaf, load_private_key(self._tls_key.read_bytes())):
            raise DocumentError("tls.key is not the key of tls.crt")
        return certificate_thumbprint(leaf.public_bytes(Encoding.DER))
