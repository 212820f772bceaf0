"""Keys that are derived from names, and signatures that are always the same.

The keys are public. They must never protect anything.
"""

from functools import cache
from hashlib import sha256
from itertools import count

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)

Key = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey

ORDERS = {
    "secp256r1": 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
    "secp384r1": int(
        "FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF"
        "C7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973",
        16,
    ),
}
"""Orders of the curves' groups (SEC 2, sections 2.4.2 and 2.5.1)."""

_EXPONENT = 65537
_SMALL_PRIMES = [n for n in range(3, 2000, 2) if all(n % d for d in range(3, 45, 2) if d < n)]
_ROUNDS = 8


def stream(name: str, size: int) -> bytes:
    """Return bytes that are derived from a name."""
    blocks = (sha256(f"{name}/{i}".encode()).digest() for i in range(-(-size // 32)))
    return b"".join(blocks)[:size]


def number(name: str, bits: int) -> int:
    """Return a number of so many bits, the first of which is 1."""
    return int.from_bytes(stream(name, -(-bits // 8))) % (1 << bits) | 1 << (bits - 1)


@cache
def p256(name: str) -> ec.EllipticCurvePrivateKey:
    """Return a key on P-256."""
    return ec.derive_private_key(number(name, 255), ec.SECP256R1())


@cache
def p384(name: str) -> ec.EllipticCurvePrivateKey:
    """Return a key on P-384."""
    return ec.derive_private_key(number(name, 383), ec.SECP384R1())


@cache
def p521(name: str) -> ec.EllipticCurvePrivateKey:
    """Return a key on P-521, which no event may have."""
    return ec.derive_private_key(number(name, 520), ec.SECP521R1())


@cache
def ed25519_key(name: str) -> ed25519.Ed25519PrivateKey:
    """Return an Ed25519 key."""
    return ed25519.Ed25519PrivateKey.from_private_bytes(stream(name, 32))


@cache
def rsa_key(name: str, bits: int = 2048) -> rsa.RSAPrivateKey:
    """Return an RSA key."""
    p, q = (_prime(f"{name}/{each}", bits // 2) for each in "pq")
    private = pow(_EXPONENT, -1, (p - 1) * (q - 1))
    public = rsa.RSAPublicNumbers(_EXPONENT, p * q)
    crt = rsa.rsa_crt_dmp1(private, p), rsa.rsa_crt_dmq1(private, q), rsa.rsa_crt_iqmp(p, q)
    return rsa.RSAPrivateNumbers(p, q, private, *crt, public).private_key()


def sign(key: Key, signed: bytes) -> bytes:
    """Return the signature that docs/events.md specifies for a key."""
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key.sign(signed)
    if isinstance(key, rsa.RSAPrivateKey):
        return pss(key, signed, salt=stream(f"salt/{signed.hex()}", 32))
    low, high = both_ecdsa(key, signed)
    return low if key.curve.name in ORDERS else high


def both_ecdsa(key: ec.EllipticCurvePrivateKey, signed: bytes) -> tuple[bytes, bytes]:
    """Return both signatures of ECDSA, the one with the smaller `s` first."""
    digest = hashes.SHA384() if key.curve.name == "secp384r1" else hashes.SHA256()
    signature = key.sign(signed, ec.ECDSA(digest, deterministic_signing=True))
    if key.curve.name not in ORDERS:
        return signature, signature
    r, s = decode_dss_signature(signature)
    first, second = sorted((s, ORDERS[key.curve.name] - s))
    return encode_dss_signature(r, first), encode_dss_signature(r, second)


def pss(key: rsa.RSAPrivateKey, signed: bytes, *, salt: bytes) -> bytes:
    """Return a signature of RSASSA-PSS (RFC 8017, section 8.1.1) with a given salt."""
    numbers = key.private_numbers()
    modulus = numbers.public_numbers.n
    size = key.key_size // 8
    digest = sha256(bytes(8) + sha256(signed).digest() + salt).digest()
    block = bytes(size - len(salt) - len(digest) - 2) + b"\x01" + salt
    mask = _mgf1(digest, len(block))
    masked = int.from_bytes(block) ^ int.from_bytes(mask)
    masked &= (1 << (8 * len(block) - 1)) - 1  # the modulus has 8 * size bits, the message 1 less
    encoded = masked.to_bytes(len(block)) + digest + b"\xbc"
    return pow(int.from_bytes(encoded), numbers.d, modulus).to_bytes(size)


def _mgf1(seed: bytes, size: int) -> bytes:
    blocks = (sha256(seed + i.to_bytes(4)).digest() for i in range(-(-size // 32)))
    return b"".join(blocks)[:size]


def _prime(name: str, bits: int) -> int:
    first = number(name, bits) | 1 << (bits - 2) | 1  # both high bits: the product is long enough
    return next(n for n in count(first, 2) if _is_prime(n))


def _is_prime(candidate: int) -> bool:
    if any(candidate % small == 0 for small in _SMALL_PRIMES):
        return False
    if (candidate - 1) % _EXPONENT == 0:
        return False
    odd = candidate - 1
    twos = (odd & -odd).bit_length() - 1
    odd >>= twos
    return all(_passes(candidate, base, odd, twos) for base in _SMALL_PRIMES[:_ROUNDS])


def _passes(candidate: int, base: int, odd: int, twos: int) -> bool:
    """Return whether a number passes one round of the Miller-Rabin test."""
    power = pow(base, odd, candidate)
    if power in (1, candidate - 1):
        return True
    for _ in range(twos - 1):
        power = power * power % candidate
        if power == candidate - 1:
            return True
    return False
