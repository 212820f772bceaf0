"""Forged access tokens: one that is not signed, and some with times in the past or future."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from sandbox.demo.tokens.client import Client
from troth.pki.encodings import base64url
from troth.pki.encodings.pem import read_certificates
from troth.pki.keys.private import load_private_key
from troth.pki.tokens.signing import TokenSigner

LIFETIME = timedelta(minutes=2)


def unsigned(token: str) -> str:
    """Return a token's claims with `alg: none` and without a signature."""
    header = json.dumps({"alg": "none", "typ": "JWT"}).encode()
    return f"{base64url.encode(header)}.{token.split('.')[1]}."


def signed(keys: Mapping[str, bytes], holder: Client, audience: str, issued: timedelta) -> str:
    """Return a token signed with the domain's own key, issued that long from now.

    `keys` is the data of the Secret with the key, which only an administrator can read. Apart from
    its times the token is valid.
    """
    key = load_private_key(keys["current.key"])
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    leaf, *_ = read_certificates(holder.identity.tls_crt.read_bytes(), "tls.crt")
    return TokenSigner(key).access_token(
        issuer=holder.issuer,
        subject=holder.spiffe_id,
        audience=audience,
        scopes=["payments.charge"],
        lifetime=LIFETIME,
        now=datetime.now(UTC) + issued,
        certificate=leaf.public_bytes(Encoding.DER),
        token_id="forged",  # noqa: S106 - a name
    )
