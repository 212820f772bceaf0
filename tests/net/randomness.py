"""Reproducible randomness: the libraries' random sources depend on a seed during a recording.

Keys, certificates, passwords and identifiers of a record are then the same on every machine. Only
public names of libraries are patched, so that a move inside Troth changes nothing here.
"""

import asyncio
import base64
import hashlib
import secrets
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import Any
from unittest import mock

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import pkcs12

_sign = x509.CertificateBuilder.sign
_EXPONENT = 65537
_RSA_BITS = 2048
_PRIME_AT = {"p": 1053, "q": 43}
"""Numbers in the sequence of the seed that are prime, so that no search for them is needed."""
_P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


class Source:
    """Bytes that depend on a seed and on the number of calls before."""

    def __init__(self, seed: str) -> None:
        self._seed = seed
        self._taken = 0
        self.secret: set[str] = set()
        """Every text that was returned as a secret."""

    def take(self, length: int = 32) -> bytes:
        """Return the next bytes."""
        self._taken += 1
        return _stream(f"{self._seed}/{self._taken}", length)

    def number(self, bits: int) -> int:
        """Return the next positive number below a power of two."""
        return int.from_bytes(self.take((bits + 7) // 8)) % (1 << bits) or 1

    def token_bytes(self, length: int | None = None) -> bytes:
        given_out = self.take(length or 32)
        self._given_out(base64.b64encode(given_out).decode())
        return given_out

    def token_hex(self, length: int | None = None) -> str:
        return self._given_out(self.take(length or 32).hex())

    def token_urlsafe(self, length: int | None = None) -> str:
        text = base64.urlsafe_b64encode(self.take(length or 32)).rstrip(b"=").decode()
        return self._given_out(text)

    def elliptic(self, curve: ec.EllipticCurve) -> ec.EllipticCurvePrivateKey:
        # A number below the order of P-256 is below that of P-384 too.
        return ec.derive_private_key(self.number(256) % (_P256_ORDER - 1) + 1, curve)

    def edwards(self) -> ed25519.Ed25519PrivateKey:
        return ed25519.Ed25519PrivateKey.from_private_bytes(self.take(32))

    def rsa(self, _exponent: int, bits: int, _backend: object = None) -> rsa.RSAPrivateKey:
        assert bits == _RSA_BITS, "there is one key for all, and it has 2048 bits"
        return _rsa_key()

    def serial(self) -> int:
        return self.number(159)

    def uuid(self) -> uuid.UUID:
        return uuid.UUID(bytes=self.take(16), version=4)

    def keystore(self, *_content: object) -> bytes:
        """Return a placeholder for a PKCS#12 file, whose salts cannot be set."""
        return b"PKCS#12 " + self.take(8).hex().encode()

    def masked(self, text: str) -> str:
        """Return a text with each secret replaced by a fingerprint of it."""
        for secret in self.secret:
            if secret in text:
                name = hashlib.sha256(secret.encode()).hexdigest()[:16]
                text = text.replace(secret, f"<secret {name}>")
        return text

    def _given_out(self, text: str) -> str:
        self.secret.add(text)
        return text


def _stream(seed: str, length: int) -> bytes:
    return hashlib.shake_256(seed.encode()).digest(length)


@contextmanager
def reproducible(seed: str) -> Iterator[Source]:
    """Make every random source depend on a seed."""
    source = Source(seed)
    patches: tuple[tuple[Any, str, Callable[..., Any]], ...] = (
        (asyncio, "to_thread", _here),
        (secrets, "token_bytes", source.token_bytes),
        (secrets, "token_hex", source.token_hex),
        (secrets, "token_urlsafe", source.token_urlsafe),
        (uuid, "uuid4", source.uuid),
        (x509, "random_serial_number", source.serial),
        (x509.CertificateBuilder, "sign", _signed),
        (ec, "generate_private_key", source.elliptic),
        (ed25519.Ed25519PrivateKey, "generate", source.edwards),
        (rsa, "generate_private_key", source.rsa),
        (pkcs12, "serialize_key_and_certificates", source.keystore),
        (pkcs12, "serialize_java_truststore", source.keystore),
    )
    with ExitStack() as stack:
        for owner, name, instead in patches:
            stack.enter_context(mock.patch.object(owner, name, instead))
        yield source


async def _here(work: Callable[..., Any], *arguments: Any) -> Any:
    """Run a function at once instead of in a thread, because the order of threads is random."""
    return work(*arguments)


def _signed(
    builder: x509.CertificateBuilder, key: Any, digest: Any, *_more: object
) -> x509.Certificate:
    """Sign a certificate with a deterministic nonce (RFC 6979)."""
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return _sign(builder, key, digest, ecdsa_deterministic=True)
    return _sign(builder, key, digest)


@cache
def _rsa_key() -> rsa.RSAPrivateKey:
    first, second = (_number(which, attempt) for which, attempt in _PRIME_AT.items())
    exponent = pow(_EXPONENT, -1, (first - 1) * (second - 1))
    public = rsa.RSAPublicNumbers(_EXPONENT, first * second)
    return rsa.RSAPrivateNumbers(
        first,
        second,
        exponent,
        rsa.rsa_crt_dmp1(exponent, first),
        rsa.rsa_crt_dmq1(exponent, second),
        rsa.rsa_crt_iqmp(first, second),
        public,
    ).private_key()


def _number(which: str, attempt: int) -> int:
    length = _RSA_BITS // 2
    drawn = int.from_bytes(_stream(f"{_RSA_BITS}/{which}/{attempt}", length // 8))
    return drawn | 3 << (length - 2) | 1
