"""Certification paths from an issuing certificate to an anchor (RFC 5280, section 6).

This is no replacement for validation by verifiers. It finds early, with a clear message, what
every verifier would reject.
"""

from collections.abc import Sequence
from itertools import pairwise

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.hashes import MD5, SHA1
from cryptography.x509.oid import ExtendedKeyUsageOID

from troth.pki.certificates.leaf import short
from troth.pki.encodings.pem import extension, fingerprint, public_key
from troth.pki.errors import AuthorityError
from troth.pki.keys.private import algorithm_of

_PEER_PURPOSES = frozenset({ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH})


def is_self_signed(certificate: x509.Certificate) -> bool:
    """Return whether the certificate is its own issuer, by name and by signature.

    A signature that is too weak to verify (MD5, SHA-1) counts as its own. An anchor is trusted
    because it is configured, not because of its signature.
    """
    return _names(certificate, certificate) and (
        _weakly_signed(certificate) or is_signed(certificate, certificate)
    )


def to_anchor(
    served: Sequence[x509.Certificate], anchors: Sequence[x509.Certificate]
) -> tuple[x509.Certificate, ...]:
    """Return the served certificates, issuing one first, and the anchor that signed the last.

    If several anchors signed it, the path ends in the one that expires last. Raises
    `AuthorityError` if a certificate is missing, out of order, not signed by the next, or signed
    with MD5 or SHA-1.
    """
    for certificate in served:
        if _weakly_signed(certificate):
            raise AuthorityError(
                "WeakSignature",
                f"Certificate {_short(certificate)} is signed with MD5, SHA-1 or an unknown "
                "algorithm; reissue it with SHA-256 or better.",
            )
    for lower, upper in pairwise(served):
        if not _names(lower, upper):
            raise AuthorityError(
                "ChainOutOfOrder",
                f"In tls.crt, certificate {_short(lower)} is not followed by its issuer; put the "
                "issuing certificate first, then the issuer of each certificate in turn.",
            )
        if not is_signed(lower, upper):
            raise _bad_signature(lower)
    named = [anchor for anchor in anchors if _names(served[-1], anchor)]
    if not named:
        raise AuthorityError(
            "AnchorMismatch",
            f"None of the given roots issued certificate {_short(served[-1])}, the last one "
            "below the root; put its issuer in ca.crt.",
        )
    signers = [anchor for anchor in named if is_signed(served[-1], anchor)]
    if not signers:
        raise _bad_signature(served[-1])
    return (*served, max(signers, key=lambda anchor: anchor.not_valid_after_utc))


def check(path: Sequence[x509.Certificate]) -> None:
    """Raise a `PKIError` if verifiers would reject a leaf that the path's first certificate issues.

    Each certificate must be a CA with keyCertSign (RFC 5280, sections 4.2.1.3 and 4.2.1.9), allow
    the intermediates below it, and allow serverAuth and clientAuth if it limits purposes. The
    issuing one must have a subject key identifier (section 4.2.1.2) and a supported key.
    """
    algorithm_of(public_key(path[0]))
    subject_key_id(path[0])
    below = 0
    for certificate in path:
        check_ca(certificate, below)
        # A self-issued certificate does not count towards the path length (section 4.2.1.9).
        below += certificate.subject != certificate.issuer


def subject_key_id(certificate: x509.Certificate) -> bytes:
    """Return the subject key identifier; raises `AuthorityError` if there is none."""
    found = extension(certificate, x509.SubjectKeyIdentifier)
    if found is None:
        raise AuthorityError(
            "SubjectKeyIdentifierMissing",
            f"The issuing certificate {_short(certificate)} has no subject key identifier, which "
            "RFC 5280 requires of an authority; reissue it with one.",
        )
    return found.digest


def check_ca(certificate: x509.Certificate, below: int = 0) -> None:
    """Raise `AuthorityError` if a certificate may not sign a leaf over `below` intermediates."""
    basic = extension(certificate, x509.BasicConstraints)
    if basic is None or not basic.ca:
        raise AuthorityError(
            "NotAnAuthority",
            f"Certificate {_short(certificate)} is not a CA certificate (basic constraints); use "
            "a certificate that was issued to sign others.",
        )
    usage = extension(certificate, x509.KeyUsage)
    if usage is None or not usage.key_cert_sign:
        raise AuthorityError(
            "KeyUsageMissing",
            f"Certificate {_short(certificate)} may not sign certificates (key usage, "
            "keyCertSign); reissue it with that usage.",
        )
    if basic.path_length is not None and basic.path_length < below:
        raise AuthorityError(
            "PathTooLong",
            f"Certificate {_short(certificate)} allows {basic.path_length} intermediates below "
            f"it, but there are {below}; use an authority closer to the root, or raise its path "
            "length.",
        )
    purposes = extension(certificate, x509.ExtendedKeyUsage)
    if purposes is not None and not _PEER_PURPOSES.issubset(purposes):
        raise AuthorityError(
            "ExtendedKeyUsageTooNarrow",
            f"Certificate {_short(certificate)} is limited to other purposes than a leaf needs; "
            "reissue it without extended key usage, or with serverAuth and clientAuth.",
        )


def _names(lower: x509.Certificate, upper: x509.Certificate) -> bool:
    return lower.issuer == upper.subject


def is_signed(lower: x509.Certificate, upper: x509.Certificate) -> bool:
    """Return whether the second certificate names the first one's issuer and its key signed it."""
    try:
        lower.verify_directly_issued_by(upper)
    except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError):
        return False
    return True


def _weakly_signed(certificate: x509.Certificate) -> bool:
    try:
        return isinstance(certificate.signature_hash_algorithm, MD5 | SHA1)
    except UnsupportedAlgorithm:
        return True


def _bad_signature(certificate: x509.Certificate) -> AuthorityError:
    return AuthorityError(
        "ChainSignatureInvalid",
        f"Certificate {_short(certificate)} is not signed by the certificate with its issuer's "
        "name; put its real issuer in tls.crt or ca.crt.",
    )


def _short(certificate: x509.Certificate) -> str:
    return short(fingerprint(certificate))
