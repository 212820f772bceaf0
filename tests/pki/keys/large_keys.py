"""RSA keys of any size, made at once from known primes: OpenSSL takes minutes to make large ones.

Everybody knows these primes, so the keys are for tests alone. To OpenSSL they are valid, and it
tests them for primality as it tests any other key: 3 s for RSA-8192, 23 s for RSA-16384.
"""

from functools import cache
from math import gcd

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

EXPONENT = 65537
_BELOW = {4096: (2549, 8067), 8192: (2439, 5619)}
"""The two largest primes of so many bits, by how much less than a power of two they are."""


@cache
def large_key(bits: int) -> rsa.RSAPrivateKey:
    """Return the key of 8192 or 16384 bits."""
    p, q = (2 ** (bits // 2) - below for below in _BELOW[bits // 2])
    return numbers(p, q, pow(EXPONENT, -1, (p - 1) * (q - 1))).private_key(
        unsafe_skip_rsa_key_validation=True
    )


@cache
def with_exponent(e: int) -> rsa.RSAPrivateKey:
    """Return a key of 2048 bits with a public exponent."""
    while True:
        made = rsa.generate_private_key(EXPONENT, 2048).private_numbers()
        if gcd(e, (made.p - 1) * (made.q - 1)) == 1:
            d = pow(e, -1, (made.p - 1) * (made.q - 1))
            return numbers(made.p, made.q, d, e).private_key(unsafe_skip_rsa_key_validation=True)


def numbers(p: int, q: int, d: int, e: int = EXPONENT) -> rsa.RSAPrivateNumbers:
    return rsa.RSAPrivateNumbers(
        p, q, d, d % (p - 1), d % (q - 1), pow(q, -1, p), rsa.RSAPublicNumbers(e, p * q)
    )


def pem(key: rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def public_pem(key: rsa.RSAPrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
