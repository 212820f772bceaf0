"""Restrictions within a path that a verifier must enforce (RFC 5280; X509-SVID, section 5.2).

A TLS library enforces them for the peers of connections. Certificates that arrive in a message have
passed no TLS library.
"""

from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.x509.oid import ExtensionOID

from troth.pki.certificates.constraints import NameConstraints
from troth.pki.encodings.pem import extension
from troth.pki.errors import AuthorityError, CertificateError

_UNDERSTOOD: Final = frozenset(
    {
        ExtensionOID.BASIC_CONSTRAINTS,
        ExtensionOID.CERTIFICATE_POLICIES,  # informative, as no policy is required
        ExtensionOID.EXTENDED_KEY_USAGE,
        ExtensionOID.KEY_USAGE,
        ExtensionOID.NAME_CONSTRAINTS,
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
    }
)


def check(path: Sequence[x509.Certificate]) -> None:
    """Raise a `PKIError` if a restriction forbids the leaf of a path, which ends in its anchor.

    The leaf must not be allowed to sign certificates or revocation lists. No certificate may have a
    critical extension that is not understood here. The names of each certificate must be within
    the name constraints of all above it.
    """
    leaf = path[0]
    usage = extension(leaf, x509.KeyUsage)
    if usage is not None and (usage.key_cert_sign or usage.crl_sign):
        raise CertificateError(
            "NotALeaf",
            "The leaf may sign certificates or revocation lists (key usage); reissue it without.",
        )
    for certificate in path:
        if any(each.critical and each.oid not in _UNDERSTOOD for each in certificate.extensions):
            raise CertificateError(
                "CriticalExtensionUnknown",
                "A certificate of the chain has a critical extension that Troth does not "
                "understand; reissue it without.",
            )
    for place, upper in enumerate(path):
        constraints = extension(upper, x509.NameConstraints)
        if constraints is not None and not all(
            _is_within(NameConstraints.of(upper), constraints, lower) for lower in path[:place]
        ):
            raise AuthorityError(
                "NameNotPermitted",
                "The name constraints of an authority do not permit a name in its chain; use an "
                "authority for these names.",
            )


def _is_within(
    read: NameConstraints, constraints: x509.NameConstraints, certificate: x509.Certificate
) -> bool:
    """Return whether the names of a certificate are within constraints.

    A constrained type of name that is not read here, such as addresses, must not occur at all.
    """
    names = extension(certificate, x509.SubjectAlternativeName) or ()
    constrained = {
        type(each)
        for each in (
            *(constraints.permitted_subtrees or ()),
            *(constraints.excluded_subtrees or ()),
        )
    }
    for name in names:
        if isinstance(name, x509.UniformResourceIdentifier):
            within = read.allow_uri_host(_host(name.value))
        elif isinstance(name, x509.DNSName):
            within = read.allow_dns_name(name.value)
        else:
            within = type(name) not in constrained
        if not within:
            return False
    # An intermediate's subject is a name of its owner's choice; a leaf's is read by brokers.
    return read.allow_subjects or _is_authority(certificate) or not list(certificate.subject)


def _host(uri: str) -> str:
    try:
        return urlsplit(uri).hostname or ""
    except ValueError:
        raise CertificateError(
            "NameUnreadable",
            "A certificate of the chain has a URI whose host cannot be read; reissue it without.",
        ) from None


def _is_authority(certificate: x509.Certificate) -> bool:
    basic = extension(certificate, x509.BasicConstraints)
    return basic is not None and basic.ca
