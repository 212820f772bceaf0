"""What the files of an identity said at one moment."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from troth.edge.identity.document import Document
from troth.pki.spiffe_bundle import SPIFFEBundle


class IdentityError(Exception):
    """There is no identity to go by: the files are missing, cannot be read, or do not fit."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """An identity's files at one moment. Two are equal when the files said the same.

    `certificate_thumbprint` is that of the leaf in `tls.crt` (`x5t#S256`), None for a mount without
    a certificate. `tls_crt`, `tls_key` and `ca_crt` are paths, which may say something newer when
    they are read. `generation` counts the snapshots of one `Identity`.
    """

    spiffe_id: str
    trust_domain: str
    document: Document
    bundles: Mapping[str, SPIFFEBundle]
    certificate_thumbprint: str | None
    anchors: bytes = field(repr=False)
    tls_crt: Path
    tls_key: Path
    ca_crt: Path
    generation: int = field(compare=False)

    @property
    def issuers(self) -> Mapping[str, str]:
        """The issuers whose tokens count, by trust domain."""
        return self.document.issuers

    @property
    def issuer_ids(self) -> Mapping[str, str]:
        """The issuers' SPIFFE IDs, by trust domain; not every operator writes them."""
        return self.document.issuer_ids
