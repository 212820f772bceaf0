"""The sandbox's own authority, and the keys and certificates of its components."""

import datetime as dt
import ipaddress
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

# A detached cluster may run for months; its keys are removed with it.
LIFETIME = dt.timedelta(days=365)
CLOCK_SKEW = dt.timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class KeyPair:
    """Files of a certificate and its private key."""

    certificate: Path
    key: Path


class Authority:
    """An authority that issues certificates into a directory; its own key stays in memory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._key_identifier = x509.SubjectKeyIdentifier.from_public_key(self._key.public_key())
        name = _name("troth-sandbox")
        self._certificate = (
            _builder(name, name, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(signs_certificates=True), critical=True)
            .add_extension(self._key_identifier, critical=False)
            .sign(self._key, hashes.SHA256())
        )
        self.certificate = directory / "ca.crt"
        self.certificate.write_bytes(_pem(self._certificate))

    def server(
        self, name: str, *, addresses: Sequence[str], dns_names: Sequence[str], peer: bool = False
    ) -> KeyPair:
        """Issue a server certificate for the given addresses and names.

        A `peer` also uses it as a client certificate, to connect to other servers of its kind and
        to itself.
        """
        alternatives = x509.SubjectAlternativeName(
            [
                *(x509.IPAddress(ipaddress.ip_address(address)) for address in addresses),
                *(x509.DNSName(dns_name) for dns_name in dns_names),
            ]
        )
        purposes = [ExtendedKeyUsageOID.SERVER_AUTH]
        if peer:
            purposes.append(ExtendedKeyUsageOID.CLIENT_AUTH)
        return self._issue(name, _name(name), purposes, alternatives)

    def client(self, name: str, *, user: str, group: str | None = None) -> KeyPair:
        """Issue a client certificate for a user of the API server and, if given, a group."""
        return self._issue(name, _name(user, group), [ExtendedKeyUsageOID.CLIENT_AUTH])

    def _issue(
        self,
        name: str,
        subject: x509.Name,
        purposes: Sequence[x509.ObjectIdentifier],
        alternatives: x509.SubjectAlternativeName | None = None,
    ) -> KeyPair:
        key = ec.generate_private_key(ec.SECP256R1())
        # Python 3.13 and later reject certificates without the issuer's key identifier.
        issuer = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(
            self._key_identifier
        )
        builder = (
            _builder(subject, self._certificate.subject, key.public_key())
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
            .add_extension(issuer, critical=False)
        )
        if alternatives:
            builder = builder.add_extension(alternatives, critical=False)
        pair = KeyPair(self._directory / f"{name}.crt", self._directory / f"{name}.key")
        pair.certificate.write_bytes(_pem(builder.sign(self._key, hashes.SHA256())))
        write_private_key(pair.key, key)
        return pair


def service_account_key() -> rsa.RSAPrivateKey:
    """Generate the signing key of service-account tokens: RSA, as in most clusters."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def write_private_key(path: Path, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> None:
    """Write a private key that only the owner can read."""
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        # All Kubernetes versions read this format for every kind of key.
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    with open(path, "wb", opener=owner_only) as file:
        file.write(pem)


def owner_only(path: str, flags: int) -> int:
    """Open a file that only the owner can read; an `opener` for `open`."""
    return os.open(path, flags, 0o600)


def _name(common_name: str, organization: str | None = None) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
    if organization:
        attributes.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization))
    return x509.Name(attributes)


def _builder(
    subject: x509.Name, issuer: x509.Name, public_key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + LIFETIME)
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
