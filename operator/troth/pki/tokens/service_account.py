"""Kubernetes ServiceAccount tokens: their form, and the keys with which a cluster signs them.

The API server signs with RS256, ES256, ES384 or ES512, and publishes its keys as a JWK set with the
issuer of its tokens (Kubernetes, "ServiceAccount token issuer discovery"). A valid signature does
not mean that a token is valid: only the API server knows whether the pod and the account exist.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512

from troth.pki.encodings import base64url, strict_json
from troth.pki.encodings.pem import verifies_fast

MAX_KEYS = 64
"""Maximum number of keys of a cluster; it has one or two."""

_PARTS = 3
_RSA = "RS256"
_CURVES: Mapping[str, tuple[str, ec.EllipticCurve, SHA256 | SHA384 | SHA512]] = {
    "P-256": ("ES256", ec.SECP256R1(), SHA256()),
    "P-384": ("ES384", ec.SECP384R1(), SHA384()),
    "P-521": ("ES512", ec.SECP521R1(), SHA512()),
}
"""By `crv`: the only algorithm of a key on the curve (RFC 7518, section 3.4)."""
_HASHES = {curve.name: digest for _, curve, digest in _CURVES.values()}


@dataclass(frozen=True, slots=True)
class ClusterKey:
    """Public key with which a cluster signs ServiceAccount tokens, and its only algorithm."""

    algorithm: str
    public: rsa.RSAPublicKey | ec.EllipticCurvePublicKey = field(repr=False)

    def has_signed(self, message: bytes, signature: bytes) -> bool:
        """Return whether a signature of a message was made with this key."""
        try:
            if isinstance(self.public, rsa.RSAPublicKey):
                self.public.verify(signature, message, padding.PKCS1v15(), SHA256())
                return True
            size = (self.public.curve.key_size + 7) // 8
            if len(signature) != 2 * size:
                return False
            r, s = int.from_bytes(signature[:size]), int.from_bytes(signature[size:])
            digest = _HASHES[self.public.curve.name]
            self.public.verify(encode_dss_signature(r, s), message, ec.ECDSA(digest))
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True, slots=True)
class ClusterKeys:
    """The issuer of a cluster's ServiceAccount tokens, and its keys by `kid`."""

    issuer: str
    keys: Mapping[str, ClusterKey]


@dataclass(frozen=True, slots=True)
class AccountToken:
    """A parsed token, not verified."""

    algorithm: str
    kid: str
    claims: Mapping[str, Any] = field(repr=False)
    signed: bytes = field(repr=False)
    signature: bytes = field(repr=False)

    def is_signed_by(self, cluster: ClusterKeys) -> bool:
        """Return whether the key that `kid` names is the cluster's and has signed the token."""
        key = cluster.keys.get(self.kid)
        return (
            key is not None
            and key.algorithm == self.algorithm
            and key.has_signed(self.signed, self.signature)
        )


def parse_account_token(token: str) -> AccountToken:
    """Return a token that may be a ServiceAccount's; raises `ValueError`, which quotes nothing."""
    parts = token.split(".") if token.isascii() else []
    if len(parts) != _PARTS:
        raise ValueError("not a JWT")
    header, claims = (strict_json.parse(base64url.decode(part)) for part in parts[:2])
    match header, claims:
        case {"alg": str(algorithm), "kid": str(kid)}, dict() if "crit" not in header:
            signed, _, end = token.rpartition(".")
            return AccountToken(algorithm, kid, claims, signed.encode(), base64url.decode(end))
        case _:
            raise ValueError("not a JWT of a ServiceAccount")


def read_cluster_keys(discovery: Mapping[str, Any], key_set: Mapping[str, Any]) -> ClusterKeys:
    """Return the keys in a JWK set and the issuer in a discovery document.

    Keys of other kinds are left out. Raises `ValueError` without an issuer or a usable key.
    """
    issuer, jwks = discovery.get("issuer"), key_set.get("keys")
    if not isinstance(issuer, str) or not issuer:
        raise ValueError("the discovery document has no issuer")
    if not isinstance(jwks, list) or len(jwks) > MAX_KEYS:
        raise ValueError("the JWK set has no list of keys, or too many")
    keys: dict[str, ClusterKey] = {}
    for jwk in jwks:
        key = _key(jwk) if isinstance(jwk, dict) else None
        if key is not None:
            keys[jwk["kid"]] = key
    if not keys:
        raise ValueError("the JWK set has no usable key")
    return ClusterKeys(issuer, MappingProxyType(keys))


def _key(jwk: Mapping[str, Any]) -> ClusterKey | None:
    """Return the key of a JWK, None if it does not verify ServiceAccount tokens."""
    try:
        match jwk:
            case {"kty": "RSA", "kid": str(), "n": str(n), "e": str(e)}:
                public = rsa.RSAPublicNumbers(_number(e), _number(n)).public_key()
                key = ClusterKey(_RSA, public) if verifies_fast(public) else None
            case {"kty": "EC", "kid": str(), "crv": str(crv), "x": str(x), "y": str(y)}:
                algorithm, curve, _ = _CURVES[crv]
                numbers = ec.EllipticCurvePublicNumbers(_number(x), _number(y), curve)
                key = ClusterKey(algorithm, numbers.public_key())
            case _:
                return None
    except (ValueError, KeyError):
        return None
    return key if key and jwk.get("alg", key.algorithm) == key.algorithm else None


def _number(text: str) -> int:
    return int.from_bytes(base64url.decode(text))
