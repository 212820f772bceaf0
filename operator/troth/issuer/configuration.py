"""Reads the issuer's Secret: the grants, the signing keys, and the bundle that it publishes.

All parts come from one version of one object, so they are consistent: a key never signs before the
bundle contains it. An inconsistent version is rejected as a whole.
"""

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from troth.documents.token_grants import FILE, ConfigurationError, TokenGrants, read_grants
from troth.pki.bundles.spiffe_bundle import SPIFFEBundle, parse_spiffe_bundle
from troth.pki.encodings import strict_json
from troth.pki.errors import PKIError
from troth.pki.keys.jwk import key_fingerprint, key_id, load_public_jwk, public_jwk
from troth.pki.keys.parsing import LONGEST as LONGEST_KEY
from troth.pki.keys.private import load_private_key
from troth.pki.tokens.signing import ALGORITHM, TokenSigner

CURRENT, NEXT, RETIRING = "current.key", "next.key", "retiring.jwk"
BUNDLE = "bundle.json"


@dataclass(frozen=True, slots=True)
class IssuerConfiguration:
    """What the issuer may issue, and its keys.

    `verifying` contains the JWT keys of all slots, which verify the transaction tokens to be
    replaced. `key_set` and `bundle` are the JSON documents for verifiers.
    """

    version: str
    grants: TokenGrants = field(repr=False)
    signer: TokenSigner
    verifying: SPIFFEBundle = field(repr=False)
    key_set: bytes = field(repr=False)
    bundle: bytes = field(repr=False)

    @property
    def signing_key(self) -> str:
        """Fingerprint of the active signing key."""
        return key_fingerprint(self.signer.kid)


def read_configuration(secret: Mapping[str, Any]) -> IssuerConfiguration:
    """Return the configuration in the Secret `<domain>-tokens`; raises `ConfigurationError`."""
    data = secret.get("data") or {}
    granted = read_grants(_part(data, FILE))
    current = _private_key(_part(data, CURRENT, LONGEST_KEY), CURRENT)
    keys = [current.public_key()]
    if NEXT in data:
        keys.append(_private_key(_part(data, NEXT, LONGEST_KEY), NEXT).public_key())
    if RETIRING in data:
        keys.append(_public_key(_part(data, RETIRING, LONGEST_KEY)))
    bundle = _part(data, BUNDLE)
    known = {key_id(key): key for key in keys}
    signer = TokenSigner(current)
    return IssuerConfiguration(
        version=str(secret["metadata"]["resourceVersion"]),
        grants=granted,
        signer=signer,
        verifying=_verifying(bundle, granted.trust_domain, known, signer.kid),
        key_set=_key_set(known),
        bundle=bundle,
    )


def _part(data: Mapping[str, str], name: str, most: int | None = None) -> bytes:
    """Return a decoded value of the Secret, at most `most` bytes; raises `ConfigurationError`."""
    try:
        text = data[name]
        if most is not None and len(text) > 4 * (most // 3 + 1):
            raise ConfigurationError(f"{name} is larger than {most} bytes")
        return base64.b64decode(text, validate=True)
    except (KeyError, TypeError, binascii.Error):
        raise ConfigurationError(f"{name} is missing or is not base64") from None


def _private_key(pem: bytes, name: str) -> ec.EllipticCurvePrivateKey:
    try:
        key = load_private_key(pem)
    except PKIError as error:
        raise ConfigurationError(f"{name} is not a key: {error.reason}") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name != "secp256r1":
        raise ConfigurationError(f"{name} is a key that does not sign with {ALGORITHM}")
    return key


def _public_key(document: bytes) -> ec.EllipticCurvePublicKey:
    try:
        return load_public_jwk(strict_json.parse(document))
    except (PKIError, ValueError, AttributeError, TypeError):
        raise ConfigurationError(f"{RETIRING} is not a public key") from None


def _verifying(
    document: bytes, trust_domain: str, keys: Mapping[str, ec.EllipticCurvePublicKey], kid: str
) -> SPIFFEBundle:
    try:
        published = parse_spiffe_bundle(document, trust_domain)
    except PKIError as error:
        raise ConfigurationError(f"{BUNDLE} is not a SPIFFE bundle: {error.reason}") from None
    if kid not in published.jwt_keys:
        raise ConfigurationError(f"{BUNDLE} lacks {CURRENT}, so no verifier would know the key")
    return SPIFFEBundle(trust_domain, published.x509_authorities, MappingProxyType(dict(keys)))


def _key_set(keys: Mapping[str, ec.EllipticCurvePublicKey]) -> bytes:
    jwks = [{"use": "sig", "alg": ALGORITHM, **public_jwk(key)} for key in keys.values()]
    return json.dumps({"keys": jwks}).encode()
