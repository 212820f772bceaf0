"""Content of an identity's files at one moment."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from troth.documents.identity.document import Document
from troth.pki.bundles.spiffe_bundle import SPIFFEBundle


class IdentityError(Exception):
    """There is no usable identity: files are missing, unreadable, or inconsistent."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Content of an identity's files at one moment. Equal snapshots have the same content.

    `certificate_thumbprint` is the thumbprint of the leaf in `tls.crt` (`x5t#S256`), None for a
    mount without a certificate. `event_bundles` verify events only: they also have the roots and
    token keys that were retired within the longest `maxAge`. Without their file they are `bundles`.
    `tls_crt`, `tls_key` and `ca_crt` are paths; the files may be newer when they are read.
    `generation` counts the snapshots of one `Identity`. `schemas` are the texts of the schemas of
    messages, by digest. A schema of the document that is missing there cannot be used.
    """

    spiffe_id: str
    trust_domain: str
    document: Document
    bundles: Mapping[str, SPIFFEBundle]
    event_bundles: Mapping[str, SPIFFEBundle]
    certificate_thumbprint: str | None
    anchors: bytes = field(repr=False)
    tls_crt: Path
    tls_key: Path
    ca_crt: Path
    generation: int = field(compare=False)
    schemas: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def issuers(self) -> Mapping[str, str]:
        """Issuers whose tokens are accepted, by trust domain."""
        return self.document.issuers

    @property
    def issuer_ids(self) -> Mapping[str, str]:
        """SPIFFE IDs of the issuers, by trust domain. Older operators do not write them."""
        return self.document.issuer_ids
