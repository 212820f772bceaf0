"""Verification of an X.509-SVID against the authorities of its own trust domain."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from troth.documents.event_bundles import TOLERANCE
from troth.pki.bundles.spiffe_bundle import SPIFFEBundle
from troth.pki.certificates import paths, restrictions
from troth.pki.certificates.leaf import parse_leaf
from troth.pki.encodings.pem import public_key, read_certificates, write_certificates
from troth.pki.errors import AuthorityError, PKIError
from troth.pki.keys.private import PublicKey
from troth.pki.spiffe import SPIFFEID
from troth.pki.tokens.signing import certificate_thumbprint


class Period(NamedTuple):
    """Validity of a path from a leaf to an anchor, the anchor included.

    `retired` is the time of the anchor's retirement, infinite for one in use. A thief of its key
    can issue certificates with any times, so the anchor verifies nothing that was made later.
    """

    begins: float
    ends: float
    retired: float = inf


@dataclass(frozen=True, slots=True)
class SVID:
    """Verified leaf. Times are in seconds since the epoch.

    `thumbprint` is its `x5t#S256`. `not_before` and `not_after` bound the leaf's own validity.
    `periods` are those of its paths, one for each anchor that it leads to.
    """

    spiffe_id: str
    thumbprint: str
    public_key: PublicKey = field(repr=False, compare=False)
    not_before: float
    not_after: float
    periods: tuple[Period, ...]

    def is_valid_at(self, at: float) -> bool:
        """Return whether a path was valid at a time, and its anchor not yet retired."""
        return any(at <= each.retired + TOLERANCE for each in self._around(at))

    def is_retired_at(self, at: float) -> bool:
        """Return whether a path was valid at a time, but each had a retired anchor."""
        return bool(self._around(at)) and not self.is_valid_at(at)

    def _around(self, at: float) -> list[Period]:
        return [each for each in self.periods if each.begins <= at < each.ends]


def verify_svid(
    certificates: Sequence[x509.Certificate], bundles: Mapping[str, SPIFFEBundle]
) -> SVID:
    """Return the leaf of a chain, leaf first, if an authority of its own trust domain issued it.

    The authority of one trust domain must not vouch for workloads of another. Anchors in the chain
    are ignored. Raises a `PKIError` for any other chain. The validity periods and the retirement of
    authorities are not checked.
    """
    leaf = parse_leaf(write_certificates(certificates))
    bundle = bundles.get(SPIFFEID.parse(leaf.spiffe_id).trust_domain)
    if bundle is None:
        raise AuthorityError("TrustDomainUnknown", "There is no bundle of the trust domain.")
    pems = bundle.x509_authorities
    anchors = read_certificates(b"".join(pems), "the bundle")
    retired = [bundle.retired_authorities.get(each, inf) for each in pems]
    served = [certificates[0], *(each for each in certificates[1:] if each not in anchors)]
    periods = _periods(served, list(zip(anchors, retired, strict=True)))
    key = public_key(served[0])
    assert isinstance(key, PublicKey)
    return SVID(
        leaf.spiffe_id,
        certificate_thumbprint(served[0].public_bytes(Encoding.DER)),
        key,
        leaf.not_before.timestamp(),
        leaf.not_after.timestamp(),
        periods,
    )


def _periods(
    served: Sequence[x509.Certificate], anchors: Sequence[tuple[x509.Certificate, float]]
) -> tuple[Period, ...]:
    """Return when a path from the leaf to an anchor is valid; raises a `PKIError` without a path.

    Each anchor has the time of its retirement. A renewed root may have the name and the key of its
    predecessor. Then each of the two is valid at its own time.
    """
    paths.to_anchor(served, [each for each, _ in anchors])  # its errors consider all anchors
    periods: list[Period] = []
    fault: PKIError | None = None
    for anchor, retired in anchors:
        try:
            path = paths.to_anchor(served, [anchor])
            paths.check(path[1:])
            restrictions.check(path)
        except PKIError as error:
            fault = fault or error
            continue
        begins = max(each.not_valid_before_utc for each in path).timestamp()
        ends = min(each.not_valid_after_utc for each in path).timestamp()
        periods.append(Period(begins, ends, retired))
    if not periods:
        assert fault is not None
        raise fault
    return tuple(periods)
