"""Issuing of certificates: self-managed roots, and leaves, which are X.509-SVIDs.

The profile is that of SPIFFE (standards/X509-SVID.md) and of RFC 5280, section 4. The docstrings
name the sections.
"""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from troth.pki.certificates.authorities import Authority, SigningAuthority
from troth.pki.certificates.constraints import permit_trust_domain
from troth.pki.certificates.leaf import BACKDATE
from troth.pki.certificates.subjects import Subject
from troth.pki.encodings.pem import write_certificates
from troth.pki.errors import IssuingError
from troth.pki.keys.parsing import PrivateKey
from troth.pki.keys.private import signature_hash
from troth.pki.spiffe import SPIFFEID, check_trust_domain

_COMMON_NAME_CHARACTERS = 64  # RFC 5280 appendix A.1, ub-common-name
_SUBJECT_PART = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,61}[a-z0-9])?")  # at most 64: appendix A.1
_DNS_CHARACTERS = 253
_DNS_NAME = re.compile(r"(?:\*\.)?(?:{0}\.)*{0}".format("[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"))
_PEERS = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])


@dataclass(frozen=True, slots=True)
class LeafProfile:
    """Content of a leaf: one SPIFFE ID, DNS names in order, and the lifetime.

    Leaves of identities have a subject too; other leaves have none.
    """

    spiffe_id: str
    dns_names: tuple[str, ...]
    lifetime: timedelta
    subject: Subject | None = None


def create_root(
    trust_domain: str,
    key: PrivateKey,
    lifetime: timedelta,
    now: datetime,
    *,
    constrained: bool = True,
) -> bytes:
    """Return a self-signed root for one trust domain, as PEM.

    It issues leaves directly, so its path length is 0. A URI SAN without a path names the trust
    domain (X509-SVID, section 3.2), and critical name constraints confine the root to it (section
    4.2). Its key usage allows only certificates and CRLs (section 4.3). The subject has the serial
    number, so no two roots have the same name: some verifiers find an issuer by name alone, and
    would find the wrong one during a rotation. Valid from `now - BACKDATE` to `now + lifetime`.

    `constrained=False` omits the name constraints, for a root that no other domain may trust.
    Raises `SPIFFEIDError` for an invalid trust domain, and `IssuingError` for a lifetime below one
    second.
    """
    check_trust_domain(trust_domain)
    now = _whole_second(now)
    _check_lifetime(lifetime)
    serial = x509.random_serial_number()
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Troth"),
            x509.NameAttribute(
                NameOID.COMMON_NAME,
                f"Troth authority for {trust_domain}"[:_COMMON_NAME_CHARACTERS],
            ),
            x509.NameAttribute(NameOID.SERIAL_NUMBER, f"{serial:040x}"),
        ]
    )
    public_key = key.public_key()
    subject_key = x509.SubjectKeyIdentifier.from_public_key(public_key)
    builder = (
        x509.CertificateBuilder(issuer_name=subject, subject_name=subject)
        .serial_number(serial)
        .public_key(public_key)
        .not_valid_before(now - BACKDATE)
        .not_valid_after(now + lifetime)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(key_cert_sign=True, crl_sign=True), critical=True)
        .add_extension(
            x509.SubjectAlternativeName(
                [x509.UniformResourceIdentifier(str(SPIFFEID(trust_domain, "")))]
            ),
            critical=False,
        )
        .add_extension(subject_key, critical=False)
        .add_extension(_authority_key(subject_key), critical=False)
    )
    if constrained:
        builder = builder.add_extension(permit_trust_domain(trust_domain), critical=True)
    return write_certificates([builder.sign(key, signature_hash(key))])


def issue(
    profile: LeafProfile, leaf_key: PrivateKey, authority: SigningAuthority, now: datetime
) -> bytes:
    """Return an X.509-SVID and its chain as PEM, for `tls.crt`.

    The leaf has exactly one URI SAN (X509-SVID, section 2) and is no CA (section 4.1). Its key
    usage is critical, with digitalSignature, and keyEncipherment for RSA keys (section 4.3). Its
    extended key usage is serverAuth and clientAuth (section 4.4). The SAN is critical exactly if
    the subject is empty (section 3.1; RFC 5280, sections 4.1.2.6 and 4.2.1.6). Serial numbers are
    random, with at most 20 bytes (RFC 5280, section 4.1.2.2). Valid from `now - BACKDATE` to `now +
    lifetime`, within the validity of the authority.

    Raises `SPIFFEIDError` for an ID without a path or of another trust domain. Raises
    `IssuingError` for a DNS name or subject that is invalid or that the authority's name
    constraints forbid, for a lifetime below one second, and for an authority that is not valid at
    `now`.
    """
    now = _whole_second(now)
    facts = authority.authority
    _check_lifetime(profile.lifetime)
    _check_valid(facts, now)
    names = _names(profile, facts)
    public_key = leaf_key.public_key()
    leaf = (
        x509.CertificateBuilder(
            issuer_name=authority.certificate.subject, subject_name=_subject(profile, facts)
        )
        .serial_number(x509.random_serial_number())
        .public_key(public_key)
        .not_valid_before(max(now - BACKDATE, facts.not_before))
        .not_valid_after(min(now + profile.lifetime, facts.not_after))
        .add_extension(names, critical=profile.subject is None)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(
            _key_usage(
                digital_signature=True,
                # TLS 1.2 with RSA key exchange encrypts to the key; no other key exchange does.
                key_encipherment=isinstance(leaf_key, rsa.RSAPrivateKey),
            ),
            critical=True,
        )
        .add_extension(_PEERS, critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(
            _authority_key(x509.SubjectKeyIdentifier(bytes.fromhex(facts.subject_key_id))),
            critical=False,
        )
        .sign(authority.private_key, signature_hash(authority.private_key))
    )
    return write_certificates([leaf]) + b"".join(facts.certificates)


def _names(profile: LeafProfile, authority: Authority) -> x509.SubjectAlternativeName:
    identity = SPIFFEID.parse(profile.spiffe_id)
    if not identity.path:
        raise IssuingError(
            "SPIFFEIDWithoutPath",
            f"{profile.spiffe_id} names a trust domain but no workload in it; add a path.",
        )
    if identity.trust_domain != authority.trust_domain:
        raise IssuingError(
            "ForeignTrustDomain",
            f"{profile.spiffe_id} is not in the authority's trust domain "
            f"{authority.trust_domain}; use the authority of its own trust domain.",
        )
    for name in profile.dns_names:
        if len(name) > _DNS_CHARACTERS or not _DNS_NAME.fullmatch(name):
            raise IssuingError(
                "InvalidDNSName",
                f"{name!r} is not a DNS name; use lower-case letters, digits and '-' in labels "
                "of up to 63 characters, and '*.' only at the front.",
            )
        if not all(each.allow_dns_name(name) for each in authority.name_constraints):
            raise IssuingError(
                "NameConstraintsForbidDNSName",
                f"The authority's name constraints forbid the DNS name {name}, so every verifier "
                "would reject the leaf; remove the name, or use an authority that permits it.",
            )
    return x509.SubjectAlternativeName(
        [
            x509.UniformResourceIdentifier(profile.spiffe_id),
            *(x509.DNSName(name) for name in dict.fromkeys(profile.dns_names)),
        ]
    )


def _subject(profile: LeafProfile, authority: Authority) -> x509.Name:
    subject = profile.subject
    if subject is None:
        return x509.Name([])
    for part in (subject.name, subject.namespace):
        if not _SUBJECT_PART.fullmatch(part):
            raise IssuingError(
                "InvalidSubject",
                f"{part!r} is not allowed in a subject; use 1 to 63 lower-case letters, digits, "
                "'-' and '.'.",
            )
    if not all(each.allow_subjects for each in authority.name_constraints):
        raise IssuingError(
            "NameConstraintsForbidSubject",
            "The authority's name constraints restrict directory names, so every verifier would "
            f"reject a leaf of {subject}; omit the subject, or use another authority.",
        )
    return subject.encoded()


def _check_lifetime(lifetime: timedelta) -> None:
    if lifetime < timedelta(seconds=1):
        raise IssuingError(
            "InvalidLifetime", "A certificate's lifetime must be at least one second; lengthen it."
        )


def _check_valid(authority: Authority, now: datetime) -> None:
    if now < authority.not_before:
        raise IssuingError(
            "AuthorityNotYetValid",
            f"The authority is not valid before {authority.not_before.isoformat()}; wait, "
            "correct the clock, or use another authority.",
        )
    if now >= authority.not_after:
        raise IssuingError(
            "AuthorityExpired",
            f"The authority expired at {authority.not_after.isoformat()}; renew it.",
        )


def _whole_second(now: datetime) -> datetime:
    """Cut to whole seconds. A naive time is an error: it would mean the time zone of the host."""
    if now.tzinfo is None:
        raise TypeError("now must be an aware datetime")
    return now.replace(microsecond=0)


def _authority_key(subject_key: x509.SubjectKeyIdentifier) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(subject_key)


def _key_usage(
    *,
    digital_signature: bool = False,
    key_encipherment: bool = False,
    key_cert_sign: bool = False,
    crl_sign: bool = False,
) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=key_encipherment,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        encipher_only=False,
        decipher_only=False,
    )
