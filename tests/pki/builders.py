"""Authorities and certificates for the tests: valid ones by Troth, unusual ones by hand."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from troth.pki.certificates.authorities import SigningAuthority, load_signing_authority
from troth.pki.certificates.issuing import LeafProfile, create_root, issue
from troth.pki.keys.parsing import PrivateKey
from troth.pki.keys.private import generate_key, private_key_pem, signature_hash
from troth.resources.algorithms import KeyAlgorithm

# Truncated to seconds: what a certificate can hold.
NOW = datetime.now(UTC).replace(microsecond=0)
DAY = timedelta(days=1)
YEAR = timedelta(days=365)
DOMAIN = "prod.shop.example"
PAYMENTS = f"spiffe://{DOMAIN}/ns/shop/sa/payments"
P256 = KeyAlgorithm.ECDSA_P256


def key(algorithm: KeyAlgorithm = P256, which: str = "leaf") -> PrivateKey:
    """One key per algorithm and use for the whole run; RSA-4096 takes most of a second."""
    return _key(algorithm, which)


@cache
def _key(algorithm: KeyAlgorithm, _which: str) -> PrivateKey:
    return generate_key(algorithm)


def own_root(
    algorithm: KeyAlgorithm = P256,
    *,
    domain: str = DOMAIN,
    which: str = "root",
    now: datetime = NOW,
) -> SigningAuthority:
    signer = key(algorithm, which)
    root = create_root(domain, signer, YEAR, now)
    return load_signing_authority(root, private_key_pem(signer), None, domain)


def profile(*dns_names: str, spiffe_id: str = PAYMENTS, lifetime: timedelta = DAY) -> LeafProfile:
    return LeafProfile(spiffe_id, dns_names, lifetime)


def leaf(authority: SigningAuthority, *dns_names: str, algorithm: KeyAlgorithm = P256) -> bytes:
    return issue(profile(*dns_names), key(algorithm), authority, NOW)


@dataclass(frozen=True)
class Made:
    """A certificate made by hand, and its key."""

    certificate: x509.Certificate
    key: PrivateKey

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        return private_key_pem(self.key)


def usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )


def by_hand(
    name: str,
    issuer: Made | None = None,
    *,
    algorithm: KeyAlgorithm = P256,
    signer: PrivateKey | None = None,
    own_key: PrivateKey | None = None,
    ca: bool = True,
    path_length: int | None = None,
    signs: bool | None = None,
    key_identifier: bool = True,
    names: list[x509.GeneralName] | None = None,
    constraints: x509.NameConstraints | None = None,
    purposes: list[x509.ObjectIdentifier] | None = None,
    begins: timedelta = timedelta(hours=-1),
    lifetime: timedelta = YEAR,
) -> Made:
    """A certificate as asked, sound by default: self-signed, or issued by `issuer`.

    `signer` signs instead of the issuer's key, for signatures that do not verify.
    """
    own = own_key or key(algorithm, name)
    signing = signer or (issuer.key if issuer else own)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    subject_key = x509.SubjectKeyIdentifier.from_public_key(own.public_key())
    builder = (
        x509.CertificateBuilder(
            issuer_name=issuer.certificate.subject if issuer else subject, subject_name=subject
        )
        .serial_number(x509.random_serial_number())
        .public_key(own.public_key())
        .not_valid_before(NOW + begins)
        .not_valid_after(NOW + lifetime)
        .add_extension(
            x509.BasicConstraints(ca=ca, path_length=path_length if ca else None), critical=True
        )
        .add_extension(usage(signs=ca if signs is None else signs), critical=True)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(
                issuer.key.public_key() if issuer else own.public_key()
            ),
            critical=False,
        )
    )
    if key_identifier:
        builder = builder.add_extension(subject_key, critical=False)
    if names is not None:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    if constraints is not None:
        builder = builder.add_extension(constraints, critical=True)
    if purposes is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
    return Made(builder.sign(signing, signature_hash(signing)), own)


def permitting(*names: x509.GeneralName) -> x509.NameConstraints:
    return x509.NameConstraints(permitted_subtrees=list(names), excluded_subtrees=None)


def excluding(*names: x509.GeneralName) -> x509.NameConstraints:
    return x509.NameConstraints(permitted_subtrees=None, excluded_subtrees=list(names))


def uri(value: str) -> x509.UniformResourceIdentifier:
    return x509.UniformResourceIdentifier(value)


def given(intermediate: Made, root: Made, *between: Made, domain: str = DOMAIN) -> SigningAuthority:
    """An intermediate someone gave us: its chain in tls.crt, the root in ca.crt."""
    chain = b"".join(each.pem for each in (intermediate, *between))
    return load_signing_authority(chain, intermediate.key_pem, root.pem, domain)
