"""PKCS#12 keystores and truststores (RFC 7292), for programs that do not read PEM.

They use PBES2, AES-256 and HMAC-SHA-256, which OpenSSL 3 and Java from 8u301 on read. Their salts
are random, so two stores of the same content differ: compare with `keystore_matches` and
`truststore_fingerprints`, not by bytes.
"""

import secrets
from collections.abc import Iterable

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    KeySerializationEncryption,
    PrivateFormat,
    pkcs12,
)

from troth.pki.bundles.trust_bundle import distinct
from troth.pki.certificates.leaf import short
from troth.pki.encodings.pem import UNREADABLE, fingerprint, public_key, read_certificates
from troth.pki.errors import CertificateError, KeyMaterialError, PKIError
from troth.pki.keys.parsing import PrivateKey
from troth.pki.keys.private import same_key

_ALIAS = b"troth"
_PASSWORD_BYTES = 32
# Rounds slow down the guessing of passwords that people choose. This one has 256 random bits, so
# few rounds are enough, and a keystore takes one millisecond instead of ten.
_ROUNDS = 2048


def keystore_password() -> str:
    """Return a new random password: 43 characters, safe in URLs, shells and property files."""
    return secrets.token_urlsafe(_PASSWORD_BYTES)


def pkcs12_keystore(
    key: PrivateKey, chain_pem: bytes, anchors: Iterable[bytes], password: str
) -> bytes:
    """Return a keystore with the leaf and its key as alias `troth`, the chain and the anchors.

    `chain_pem` is a `tls.crt`, leaf first. The anchors complete the chain. Java does not trust
    them, because they are not marked as trusted entries. Raises `CertificateError` for unreadable
    certificates, and `KeyMaterialError` if the key is not the leaf's.
    """
    leaf, *chain = read_certificates(chain_pem, "tls.crt")
    if not same_key(leaf, key):
        raise KeyMaterialError(
            "PrivateKeyMismatch", "The private key does not match the leaf; issue both again."
        )
    return pkcs12.serialize_key_and_certificates(
        _ALIAS, key, leaf, [*chain, *distinct(anchors)], _encryption(password)
    )


def keystore_matches(p12: bytes, password: str, leaf_pem: bytes) -> bool:
    """Return whether the keystore opens and has this leaf (the first certificate) and its key.

    Returns False for anything unreadable; never raises.
    """
    try:
        leaf = read_certificates(leaf_pem, "tls.crt")[0]
        store = pkcs12.load_pkcs12(p12, password.encode())
    except (PKIError, *UNREADABLE):
        return False
    if store.key is None or store.cert is None:
        return False
    return store.cert.certificate == leaf and store.key.public_key() == public_key(leaf)


def pkcs12_truststore(anchors: Iterable[bytes], password: str) -> bytes:
    """Return a truststore with the anchors as trusted entries, as Java's keytool marks them.

    Raises `CertificateError` if there are no anchors or one is unreadable.
    """
    entries = [
        pkcs12.PKCS12Certificate(anchor, b"troth-" + short(fingerprint(anchor)).encode())
        for anchor in distinct(anchors)
    ]
    if not entries:
        raise CertificateError(
            "CertificateMissing", "A truststore needs at least one trust anchor; add one."
        )
    return pkcs12.serialize_java_truststore(entries, _encryption(password))


def truststore_fingerprints(p12: bytes, password: str) -> frozenset[str] | None:
    """Return the fingerprints of a truststore's certificates, None if it cannot be parsed."""
    try:
        store = pkcs12.load_pkcs12(p12, password.encode())
        return frozenset(fingerprint(entry.certificate) for entry in store.additional_certs)
    except UNREADABLE:
        return None


def _encryption(password: str) -> KeySerializationEncryption:
    return (
        PrivateFormat.PKCS12.encryption_builder()
        .kdf_rounds(_ROUNDS)
        .key_cert_algorithm(pkcs12.PBES.PBESv2SHA256AndAES256CBC)
        .hmac_hash(SHA256())
        .build(password.encode())
    )
