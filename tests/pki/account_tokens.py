"""ServiceAccount tokens and JWK sets of a cluster, made by PyJWT."""

import json
from functools import cache
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

CLUSTER = "https://kubernetes.default.svc"
CURVES: dict[str, type[ec.EllipticCurve]] = {
    "ES256": ec.SECP256R1,
    "ES384": ec.SECP384R1,
    "ES512": ec.SECP521R1,
}


@cache
def private_key(name: str, algorithm: str = "RS256") -> Any:
    """Return the key of a name, the same for the whole run."""
    if algorithm == "RS256":
        return rsa.generate_private_key(65537, 2048)
    return ec.generate_private_key(CURVES[algorithm]())


def signed(
    claims: dict[str, Any], key: str = "current", kid: str | None = None, algorithm: str = "RS256"
) -> str:
    """Return a token, signed with the key of a name; `kid` names another."""
    headers = {"kid": kid or key, "typ": None}
    return jwt.encode(claims, private_key(key, algorithm), algorithm, headers)


def jwk_set(*names: str, algorithm: str = "RS256") -> dict[str, Any]:
    """Return what the API server publishes under /openid/v1/jwks."""
    form = RSAAlgorithm if algorithm == "RS256" else ECAlgorithm
    return {"keys": [_jwk(name, form, algorithm) for name in names]}


def _jwk(name: str, form: Any, algorithm: str) -> dict[str, Any]:
    jwk = json.loads(form.to_jwk(private_key(name, algorithm).public_key()))
    jwk.pop("key_ops", None)
    return {**jwk, "use": "sig", "kid": name, "alg": algorithm}


def discovery(issuer: str = CLUSTER) -> dict[str, Any]:
    """Return what the API server publishes under /.well-known/openid-configuration."""
    return {"issuer": issuer, "jwks_uri": "https://192.0.2.1:6443/openid/v1/jwks"}
