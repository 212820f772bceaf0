"""ES256 of the floor: only one signature or verification by `cryptography`."""

import base64

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)
from cryptography.hazmat.primitives.hashes import SHA256

_BYTES = 32
_ALGORITHM = ec.ECDSA(SHA256())


def verify(token: str, key: ec.EllipticCurvePublicKey) -> None:
    """Raise `InvalidSignature` if a key has not signed a token; its claims are not read."""
    data, _, signature = token.rpartition(".")
    raw = base64.urlsafe_b64decode(f"{signature}==")
    r, s = int.from_bytes(raw[:_BYTES]), int.from_bytes(raw[_BYTES:])
    key.verify(encode_dss_signature(r, s), data.encode(), _ALGORITHM)


def signed(data: bytes, key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return data, a dot, and its signature in base64url: a token with any content."""
    r, s = decode_dss_signature(key.sign(data, _ALGORITHM))
    signature = r.to_bytes(_BYTES) + s.to_bytes(_BYTES)
    return data + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")
