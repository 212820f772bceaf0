"""SPIFFE bundles: a trust domain's X.509 authorities and JWT keys in one JWK Set.

Sources: SPIFFE Trust Domain and Bundle, section 4; X509-SVID, section 6; JWT-SVID, section 6. A
bundle map holds the bundles of several trust domains (gRPC proposal A87); Envoy reads it too.
"""

from base64 import b64decode, b64encode
from binascii import Error
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from troth.pki.bundles.trust_bundle import distinct
from troth.pki.encodings import base64url, strict_json
from troth.pki.encodings.pem import UNREADABLE, check_cost, public_key, write_certificates
from troth.pki.errors import CertificateError, KeyMaterialError
from troth.pki.keys.jwk import load_public_jwk, public_jwk
from troth.pki.keys.private import PublicKey, algorithm_of
from troth.pki.spiffe import check_trust_domain

REFRESH_HINT = 60
"""Seconds after which a reader should fetch the bundle again (section 4.1.2)."""

_X509, _JWT = "x509-svid", "jwt-svid"
_MAX_KEY_ID_CHARACTERS = 255


@dataclass(frozen=True, slots=True)
class SPIFFEBundle:
    """Keys that verify the SVIDs of one trust domain.

    `x509_authorities` are PEM, one certificate each, in the order of the document. `jwt_keys` are
    keys on P-256 by `kid`.
    """

    trust_domain: str
    x509_authorities: tuple[bytes, ...] = field(repr=False)
    jwt_keys: Mapping[str, ec.EllipticCurvePublicKey]


def bundle_document(
    x509_authorities: Iterable[bytes], jwt_keys: Iterable[Mapping[str, Any]]
) -> dict[str, Any]:
    """Return a trust domain's bundle as JSON: authorities by fingerprint, then JWT keys by `kid`.

    Each is there once, so the same set is always the same document. `x509_authorities` are PEM, one
    or more certificates each. `jwt_keys` are JWKs on P-256, of which only the public key and its
    `kid` are used. Raises `CertificateError` or `KeyMaterialError` for unreadable ones.
    """
    keys = {str(key["kid"]): public_jwk(load_public_jwk(key)) for key in jwt_keys}
    return {
        "keys": [
            *(_authority_jwk(certificate) for certificate in distinct(x509_authorities)),
            *({"use": _JWT, **keys[kid], "kid": kid} for kid in sorted(keys)),
        ],
        "spiffe_refresh_hint": REFRESH_HINT,
    }


def bundle_map_document(bundles: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the bundles of several trust domains as one document (gRPC proposal A87)."""
    return {"trust_domains": {name: bundles[name] for name in sorted(bundles)}}


def parse_spiffe_bundle(text: str | bytes, trust_domain: str) -> SPIFFEBundle:
    """Return the bundle of one trust domain; the document does not name the domain.

    Elements of another use or kind are ignored, as section 4.2 requires, and so are JWT keys that
    do not sign with ES256. Raises a `PKIError` for anything else that is unusual: an authority that
    is not exactly one certificate, a JWT key without `kid`, two keys with the same `kid`.
    """
    return _bundle(_object(text), check_trust_domain(trust_domain))


def parse_bundle_map(text: str | bytes) -> dict[str, SPIFFEBundle]:
    """Return the bundles of a bundle map by trust domain; see `parse_spiffe_bundle`."""
    domains = _object(text).get("trust_domains")
    if not isinstance(domains, dict):
        raise _unreadable("has no object trust_domains")
    return {name: _bundle(part, check_trust_domain(name)) for name, part in domains.items()}


def _object(text: str | bytes) -> dict[str, Any]:
    try:
        document = strict_json.parse(text)
    except ValueError:
        raise _unreadable("is not JSON, or has a duplicate member") from None
    if not isinstance(document, dict):
        raise _unreadable("is not a JSON object")
    return document


def _bundle(document: object, trust_domain: str) -> SPIFFEBundle:
    keys = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(keys, list) or not all(isinstance(key, dict) for key in keys):
        raise _unreadable("has no array of JWKs under keys")
    return SPIFFEBundle(
        trust_domain,
        tuple(_authority(key) for key in keys if key.get("use") == _X509),
        MappingProxyType(_jwt_keys(key for key in keys if key.get("use") == _JWT)),
    )


def _authority(jwk: Mapping[str, Any]) -> bytes:
    match jwk.get("x5c"):
        case [str(text)]:
            pass
        case _:
            raise _unreadable("has an authority that is not exactly one certificate")
    try:
        certificate = x509.load_der_x509_certificate(b64decode(text, validate=True))
    except (Error, *UNREADABLE):
        raise CertificateError(
            "CertificateUnreadable",
            "The SPIFFE bundle holds a certificate that cannot be read; write it again.",
        ) from None
    check_cost(certificate, "The SPIFFE bundle")
    return write_certificates([certificate])


def _jwt_keys(jwks: Iterator[Mapping[str, Any]]) -> dict[str, ec.EllipticCurvePublicKey]:
    keys: dict[str, ec.EllipticCurvePublicKey] = {}
    for jwk in jwks:
        kid = jwk.get("kid")
        if not isinstance(kid, str) or not 0 < len(kid) <= _MAX_KEY_ID_CHARACTERS or kid in keys:
            raise KeyMaterialError(
                "KeyIDUnreadable",
                "A JWT key of the SPIFFE bundle has no unique kid; give each key exactly one.",
            )
        if jwk.get("kty") == "EC" and jwk.get("crv") == "P-256":
            keys[kid] = load_public_jwk(jwk)
    return keys


def _authority_jwk(certificate: x509.Certificate) -> dict[str, Any]:
    # Readers compare the JWK with its certificate, so it has the key's members too.
    key = public_key(certificate)
    algorithm_of(key)
    der = certificate.public_bytes(Encoding.DER)
    return {"use": _X509, **_key_members(key), "x5c": [b64encode(der).decode("ascii")]}


def _key_members(key: object) -> dict[str, str]:
    assert isinstance(key, PublicKey)
    match key:
        case ec.EllipticCurvePublicKey():
            numbers, size = key.public_numbers(), key.curve.key_size // 8
            curve = f"P-{key.curve.key_size}"
            x, y = (base64url.encode(each.to_bytes(size)) for each in (numbers.x, numbers.y))
            return {"kty": "EC", "crv": curve, "x": x, "y": y}
        case ed25519.Ed25519PublicKey():
            raw = key.public_bytes(Encoding.Raw, PublicFormat.Raw)
            return {"kty": "OKP", "crv": "Ed25519", "x": base64url.encode(raw)}
        case rsa.RSAPublicKey():
            values = key.public_numbers()
            n, e = (
                base64url.encode(each.to_bytes((each.bit_length() + 7) // 8))
                for each in (values.n, values.e)
            )
            return {"kty": "RSA", "n": n, "e": e}


def _unreadable(what: str) -> CertificateError:
    return CertificateError("BundleUnreadable", f"The SPIFFE bundle {what}; write it again.")
