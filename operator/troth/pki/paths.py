"""Certification paths from an issuing certificate up to an anchor (RFC 5280 section 6).

Not a validator: verifiers have their own. It finds what every one of them would object to, early
and in words.
"""

from collections.abc import Sequence
from itertools import pairwise

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.hashes import MD5, SHA1
from cryptography.x509.oid import ExtendedKeyUsageOID

from troth.pki.certificates import short
from troth.pki.errors import AuthorityError
from troth.pki.keys import algorithm_of
from troth.pki.pem import extension, fingerprint, public_key

_PEER_PURPOSES = frozenset({ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH})


def is_self_signed(certificate: x509.Certificate) -> bool:
    """Whether the certificate names itself as its issuer and its signature says so too.

    A signature too old to be verified (SHA-1) is let pass: as an anchor a certificate is trusted
    for being put there, and its own signature adds nothing.
    """
    return _names(certificate, certificate) and (
        _weakly_signed(certificate) or _signed(certificate, certificate)
    )


def to_anchor(
    served: Sequence[x509.Certificate], anchors: Sequence[x509.Certificate]
) -> tuple[x509.Certificate, ...]:
    """The path: what is served, issuing certificate first, then the anchor that signed its last.

    Of several anchors that would do, the one that is valid longest is taken. Raises
    `AuthorityError` where one link is missing, out of order, not signed by the next, or signed
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
        if not _signed(lower, upper):
            raise _bad_signature(lower)
    named = [anchor for anchor in anchors if _names(served[-1], anchor)]
    if not named:
        raise AuthorityError(
            "AnchorMismatch",
            f"None of the given roots issued certificate {_short(served[-1])}, the last one "
            "below the root; put its issuer in ca.crt.",
        )
    signers = [anchor for anchor in named if _signed(served[-1], anchor)]
    if not signers:
        raise _bad_signature(served[-1])
    return (*served, max(signers, key=lambda anchor: anchor.not_valid_after_utc))


def check(path: Sequence[x509.Certificate]) -> None:
    """Raise an error where a leaf issued at the path's lower end could not be accepted.

    Each certificate must be a CA with keyCertSign (RFC 5280 section 4.2.1.3 and .9), allow the
    intermediates below it, and if it limits purposes leave servers and clients both. The issuing
    one must carry a subject key identifier (section 4.2.1.2) and a key of an algorithm Troth uses.
    """
    algorithm_of(public_key(path[0]))
    subject_key_id(path[0])
    below = 0
    for certificate in path:
        check_ca(certificate, below)
        # A certificate that names itself as its issuer does not count (section 4.2.1.9).
        below += certificate.subject != certificate.issuer


def subject_key_id(certificate: x509.Certificate) -> bytes:
    """The certificate's subject key identifier; raises `AuthorityError` where it has none."""
    found = extension(certificate, x509.SubjectKeyIdentifier)
    if found is None:
        raise AuthorityError(
            "SubjectKeyIdentifierMissing",
            f"The issuing certificate {_short(certificate)} has no subject key identifier, which "
            "RFC 5280 requires of an authority; reissue it with one.",
        )
    return found.digest


def check_ca(certificate: x509.Certificate, below: int = 0) -> None:
    """Raise `AuthorityError` where the certificate may not sign what is below it: a leaf, with
    that many intermediates between.
    """
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


def _signed(lower: x509.Certificate, upper: x509.Certificate) -> bool:
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
