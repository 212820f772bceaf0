"""Signatures of seals, by the key of an identity's certificate.

The key's algorithm fixes that of the signature; a message cannot choose it:

| key | signature |
| --- | --- |
| ECDSA P-256 | ECDSA with SHA-256, ASN.1 DER, low S |
| ECDSA P-384 | ECDSA with SHA-384, ASN.1 DER, low S |
| Ed25519 | Ed25519 (RFC 8032) |
| RSA | RSASSA-PSS with SHA-256, MGF1 with SHA-256, a salt of 32 bytes (RFC 8017, section 8.1) |

For each ECDSA signature (r, s), (r, n - s) is valid too, and everybody can compute it. Only the one
with s <= n/2 is accepted (SEC 1, section 4.1.4, does not ask for this), so no second message
exists for a sealed event.
"""

from collections.abc import Callable

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)

from troth.pki.keys.parsing import PrivateKey
from troth.pki.keys.private import PublicKey

# Orders of the curves' groups (SEC 2, sections 2.4.2 and 2.5.1).
_ORDERS = {
    "secp256r1": 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
    "secp384r1": int(
        "FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF"
        "C7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973",
        16,
    ),
}
_ECDSA = {
    "secp256r1": ec.ECDSA(hashes.SHA256()),
    "secp384r1": ec.ECDSA(hashes.SHA384()),
}
_SALT_BYTES = 32

Sign = Callable[[bytes], bytes]
"""Returns the signature of some bytes, which are not hashed before."""
Verify = Callable[[bytes, bytes], bool]
"""Returns whether a signature of some bytes is the key's, in the only accepted form."""


def signer(key: PrivateKey) -> Sign:
    """Return the function that signs with a key."""
    if isinstance(key, ec.EllipticCurvePrivateKey):
        sign, algorithm, order = key.sign, _ECDSA[key.curve.name], _ORDERS[key.curve.name]
        return lambda signed: _low(sign(signed, algorithm), order)
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key.sign
    signs, pss = key.sign, _pss()
    return lambda signed: signs(signed, *pss)


def verifier(key: PublicKey) -> Verify:
    """Return the function that verifies with a key."""
    if isinstance(key, ec.EllipticCurvePublicKey):
        verify, algorithm, order = key.verify, _ECDSA[key.curve.name], _ORDERS[key.curve.name]

        def verify_low(signature: bytes, signed: bytes) -> None:
            if not _is_low(signature, order):
                raise InvalidSignature
            verify(signature, signed, algorithm)

        return _without_error(verify_low)
    if isinstance(key, ed25519.Ed25519PublicKey):
        return _without_error(key.verify)
    assert isinstance(key, rsa.RSAPublicKey)
    check, pss = key.verify, _pss()
    return _without_error(lambda signature, signed: check(signature, signed, *pss))


def _pss() -> tuple[padding.PSS, hashes.SHA256]:
    return padding.PSS(padding.MGF1(hashes.SHA256()), _SALT_BYTES), hashes.SHA256()


def _without_error(verify: Callable[[bytes, bytes], None]) -> Verify:
    def verifies(signature: bytes, signed: bytes) -> bool:
        try:
            verify(signature, signed)
        except InvalidSignature:
            return False
        return True

    return verifies


def _low(signature: bytes, order: int) -> bytes:
    r, s = decode_dss_signature(signature)
    return signature if 2 * s <= order else encode_dss_signature(r, order - s)


def _is_low(signature: bytes, order: int) -> bool:
    try:
        r, s = decode_dss_signature(signature)
    except ValueError:
        return False
    # The encoding is compared as well: a decoder may accept a length in another form.
    return 0 < 2 * s <= order and encode_dss_signature(r, s) == signature
