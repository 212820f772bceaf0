"""Identifies the peer of a connection by the X.509-SVID that TLS has verified.

TLS verifies the chain only when a connection begins. The certificate may expire later, so each
request checks its validity again. `serving` limits the age of connections.
"""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding

from troth.edge.inbound.asgi import chain_of
from troth.issuer.errors import Code, OAuthError
from troth.issuer.grants import Proof
from troth.pki.certificates.leaf import Leaf, parse_leaf
from troth.pki.encodings.pem import read_certificates
from troth.pki.errors import PKIError
from troth.pki.spiffe import SPIFFEID

_REMEMBERED = 4096
"""Maximum number of cached certificates; one takes about 3 kB."""


@dataclass(frozen=True, slots=True)
class _Read:
    leaf: Leaf
    trust_domain: str
    der: bytes = field(repr=False)


class Peers:
    """Reads client certificates and caches the results."""

    def __init__(self) -> None:
        self._read: OrderedDict[str, _Read | None] = OrderedDict()

    def proof(self, scope: Mapping[str, Any], trust_domain: str, now: datetime) -> Proof | None:
        """Return the peer by the ASGI TLS extension, None if it presented no certificate.

        Raises `invalid_client` for a certificate that is not an X.509-SVID of this trust domain, or
        that is not valid now.
        """
        chain = chain_of(scope)
        if not chain:
            return None
        read = self._certificate(chain[0])
        if read is None:
            raise _refused("is not an X.509-SVID")
        if read.trust_domain != trust_domain:
            raise _refused(f"is not of the trust domain {trust_domain}")
        if not read.leaf.not_before <= now < read.leaf.not_after:
            raise _refused("is expired or not yet valid; load the new one and connect again")
        return Proof(read.leaf.spiffe_id, read.der)

    def _certificate(self, pem: str) -> _Read | None:
        if pem in self._read:
            self._read.move_to_end(pem)
        else:
            self._read[pem] = _parse(pem)
            if len(self._read) > _REMEMBERED:
                self._read.popitem(last=False)
        return self._read[pem]


def _parse(pem: str) -> _Read | None:
    try:
        leaf = parse_leaf(pem.encode())
        (certificate,) = read_certificates(pem.encode(), "the certificate")
        trust_domain = SPIFFEID.parse(leaf.spiffe_id).trust_domain
    except (PKIError, ValueError):
        return None
    return _Read(leaf, trust_domain, certificate.public_bytes(Encoding.DER))


def _refused(what: str) -> OAuthError:
    return OAuthError(Code.INVALID_CLIENT, f"the client certificate {what}")
