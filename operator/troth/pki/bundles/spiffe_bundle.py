"""SPIFFE bundles: a trust domain's X.509 authorities and JWT keys in one JWK Set.

Sources: SPIFFE Trust Domain and Bundle, section 4; X509-SVID, section 6; JWT-SVID, section 6. A
bundle map holds the bundles of several trust domains (gRPC proposal A87); Envoy reads it too.

A bundle for events also has retired authorities and keys. Their JWKs have the member
`troth_retired_at`, the time of retirement in seconds since the epoch, which other readers ignore.
"""

from base64 import b64decode, b64encode
from binascii import Error
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from operator import itemgetter
from types import MappingProxyType
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from troth.pki.bundles.trust_bundle import distinct
from troth.pki.certificates.pairs import root_id
from troth.pki.encodings import base64url, strict_json
from troth.pki.encodings.pem import (
    UNREADABLE,
    check_cost,
    fingerprint,
    public_key,
    write_certificates,
)
from troth.pki.errors import CertificateError, KeyMaterialError
from troth.pki.keys.jwk import load_public_jwk, public_jwk
from troth.pki.keys.private import PublicKey, algorithm_of
from troth.pki.spiffe import check_trust_domain

REFRESH_HINT = 60
"""Seconds after which a reader should fetch the bundle again (section 4.1.2)."""

_X509, _JWT = "x509-svid", "jwt-svid"
_RETIRED_AT = "troth_retired_at"
_LATEST = 2**53
_MAX_KEY_ID_CHARACTERS = 255


@dataclass(frozen=True, slots=True)
class SPIFFEBundle:
    """Keys that verify the SVIDs of one trust domain.

    `x509_authorities` are PEM, one certificate each, in the order of the document. `jwt_keys` are
    keys on P-256 by `kid`. `retired_authorities` and `retired_keys` are those of them that were
    retired, with the time in seconds since the epoch: they verify only what was made before.
    """

    trust_domain: str
    x509_authorities: tuple[bytes, ...] = field(repr=False)
    jwt_keys: Mapping[str, ec.EllipticCurvePublicKey]
    retired_authorities: Mapping[bytes, float] = field(default_factory=dict, repr=False)
    retired_keys: Mapping[str, float] = field(default_factory=dict)

    def keys_at(
        self, made: float, tolerance: float = 0.0
    ) -> Mapping[str, ec.EllipticCurvePublicKey]:
        """Return the JWT keys that verify what was made at a time, if clocks may differ so."""
        retired = self.retired_keys
        return {
            kid: key
            for kid, key in self.jwt_keys.items()
            if kid not in retired or made <= retired[kid] + tolerance
        }


def bundle_document(
    x509_authorities: Iterable[bytes],
    jwt_keys: Iterable[Mapping[str, Any]],
    *,
    retired_authorities: Iterable[tuple[bytes, datetime]] = (),
    retired_keys: Iterable[tuple[Mapping[str, Any], datetime]] = (),
) -> dict[str, Any]:
    """Return a trust domain's bundle as JSON: authorities by fingerprint, then JWT keys by `kid`.

    Each is there once, so the same set is always the same document. `x509_authorities` are PEM, one
    or more certificates each. `jwt_keys` are JWKs on P-256, of which only the public key and its
    `kid` are used. Retired ones have the time of retirement, the last one if there are several;
    one that is also in use is not retired. Raises `CertificateError` or `KeyMaterialError` for
    unreadable ones.
    """
    live = {fingerprint(each): each for each in distinct(x509_authorities)}
    keys = _keys_by_id(jwt_keys)
    in_use = set(map(root_id, live.values()))
    ended: dict[str, tuple[x509.Certificate, int]] = {}
    for pem, at in sorted(retired_authorities, key=itemgetter(1)):
        old = [each for each in distinct([pem]) if root_id(each) not in in_use]
        ended |= {fingerprint(each): (each, int(at.timestamp())) for each in old}
    retired = {
        kid: {**key, _RETIRED_AT: int(at.timestamp())}
        for each, at in sorted(retired_keys, key=itemgetter(1))
        for kid, key in _keys_by_id([each]).items()
    }
    authorities = {
        **{name: {**_authority_jwk(each), _RETIRED_AT: at} for name, (each, at) in ended.items()},
        **{name: _authority_jwk(each) for name, each in live.items()},
    }
    published = {**retired, **keys}
    return {
        "keys": [
            *(authorities[name] for name in sorted(authorities)),
            *({"use": _JWT, **published[kid], "kid": kid} for kid in sorted(published)),
        ],
        "spiffe_refresh_hint": REFRESH_HINT,
    }


def _keys_by_id(jwks: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    return {str(key["kid"]): {**public_jwk(load_public_jwk(key))} for key in jwks}


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
    authorities = [(_authority(key), key) for key in keys if key.get("use") == _X509]
    jwt_keys = _jwt_keys(key for key in keys if key.get("use") == _JWT)
    ended = ((pem, _retired_at(key)) for pem, key in authorities)
    expired = ((str(key["kid"]), _retired_at(key)) for key in keys if key.get("use") == _JWT)
    return SPIFFEBundle(
        trust_domain,
        tuple(pem for pem, _ in authorities),
        MappingProxyType(jwt_keys),
        MappingProxyType({pem: at for pem, at in ended if at is not None}),
        MappingProxyType({kid: at for kid, at in expired if at is not None and kid in jwt_keys}),
    )


def _retired_at(jwk: Mapping[str, Any]) -> float | None:
    """Return when a key was retired, None for one in use."""
    if _RETIRED_AT not in jwk:
        return None
    at = jwk[_RETIRED_AT]
    if type(at) is not int or not 0 <= at < _LATEST:
        raise _unreadable(f"has an invalid {_RETIRED_AT}")
    return float(at)


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
