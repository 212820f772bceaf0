"""Certificates whose every byte is derived from their names."""

from base64 import b64encode, urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from website.event_vectors.keys import Key, number, p256

TIME = datetime(2026, 11, 28, 12, tzinfo=UTC)
"""The time of most events."""
DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Made:
    """A certificate, its key, and the certificates above it that an event carries."""

    certificate: x509.Certificate
    key: Key
    above: tuple[x509.Certificate, ...] = ()

    @property
    def der(self) -> bytes:
        """The certificate in DER."""
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def chain(self) -> str:
        """Value of `trothchain`."""
        ders = (each.public_bytes(Encoding.DER) for each in (self.certificate, *self.above))
        return joined(*ders)

    @property
    def key_id(self) -> str:
        """Value of `keyid` for the leaf."""
        return urlsafe_b64encode(sha256(self.der).digest()).rstrip(b"=").decode()


def joined(*ders: bytes) -> str:
    """Return `trothchain` of certificates in DER."""
    return ".".join(b64encode(each).decode() for each in ders)


def authority(
    name: str,
    issuer: Made | None = None,
    *,
    domain: str | None = None,
    ca: bool = True,
    path_length: int | None = None,
    constraints: x509.NameConstraints | None = None,
    purposes: Sequence[x509.ObjectIdentifier] = (),
    identifiers: bool = True,
    begins: datetime = TIME - 90 * DAY,
    ends: datetime = TIME + 90 * DAY,
) -> Made:
    """Return a root, or an intermediate of an issuer."""
    key = p256(name)
    content = f"{name}/{begins}/{ends}"
    builder = _builder(content, _named(name), key, issuer, (begins, ends))
    if identifiers:
        builder = _with_identifiers(builder, key, issuer)
    builder = builder.add_extension(
        x509.BasicConstraints(ca=ca, path_length=path_length if ca else None), critical=True
    )
    builder = builder.add_extension(_usage(signs=True), critical=True)
    if domain is not None:
        builder = builder.add_extension(_uris([f"spiffe://{domain}"]), critical=False)
    if purposes:
        builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
    if constraints is not None:
        builder = builder.add_extension(constraints, critical=True)
    return _signed(builder, key, issuer)


def leaf(
    issuer: Made,
    key: Key,
    uris: Sequence[str],
    *,
    ca: bool = False,
    signs: bool = False,
    identifiers: bool = True,
    extension: x509.ExtensionType | None = None,
    begins: datetime = TIME - timedelta(hours=1),
    ends: datetime = TIME + timedelta(hours=23),
) -> Made:
    """Return a leaf with URIs. `extension` is one more, which is critical."""
    name = f"{uris}/{ca}/{signs}/{extension}/{begins}/{ends}/{issuer.key_id}/{key.__class__}"
    builder = (
        _builder(name, x509.Name([]), key, issuer, (begins, ends))
        .add_extension(_uris(uris), critical=True)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(_usage(signs=signs, digital_signature=True), critical=True)
    )
    if identifiers:
        builder = _with_identifiers(builder, key, issuer)
    if extension is not None:
        builder = builder.add_extension(extension, critical=True)
    return _signed(builder, key, issuer)


def _builder(
    name: str,
    subject: x509.Name,
    key: Key,
    issuer: Made | None,
    period: tuple[datetime, datetime],
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder(
            subject_name=subject,
            issuer_name=issuer.certificate.subject if issuer else subject,
        )
        .serial_number(number(f"serial/{name}", 127))
        .public_key(key.public_key())
        .not_valid_before(period[0])
        .not_valid_after(period[1])
    )


def _with_identifiers(
    builder: x509.CertificateBuilder, key: Key, issuer: Made | None
) -> x509.CertificateBuilder:
    public, signer = key.public_key(), (issuer.key if issuer else key).public_key()
    return builder.add_extension(
        x509.SubjectKeyIdentifier.from_public_key(public), critical=False
    ).add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer), critical=False)


def _signed(builder: x509.CertificateBuilder, key: Key, issuer: Made | None) -> Made:
    signer = issuer.key if issuer else key
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    certificate = builder.sign(signer, hashes.SHA256(), ecdsa_deterministic=True)
    if issuer is None:
        return Made(certificate, key)
    is_root = issuer.certificate.issuer == issuer.certificate.subject
    return Made(certificate, key, () if is_root else (issuer.certificate, *issuer.above))


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _uris(uris: Sequence[str]) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName([x509.UniformResourceIdentifier(each) for each in uris])


def _usage(*, signs: bool, digital_signature: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
