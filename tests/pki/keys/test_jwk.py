"""JWKs: P-256 only, with one encoding and one ID for each key."""

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st
from joserfc.jwk import ECKey

from troth.pki.encodings import base64url
from troth.pki.errors import KeyMaterialError
from troth.pki.keys.jwk import key_fingerprint, key_id, load_public_jwk, public_jwk

KEY = ec.generate_private_key(ec.SECP256R1())
JWK = public_jwk(KEY.public_key())


def test_jwk_survives_a_round_trip() -> None:
    assert load_public_jwk(JWK) == KEY.public_key()
    assert set(JWK) == {"kty", "crv", "x", "y", "kid"}


def test_coordinates_keep_leading_zeros() -> None:
    """RFC 7518 section 6.2.1.2: the length is the field's, whatever the number."""
    key = next(
        key
        for number in range(1, 5000)
        if (key := ec.derive_private_key(number, ec.SECP256R1()).public_key())
        .public_numbers()
        .x.bit_length()
        <= 248
    )
    written = public_jwk(key)
    assert len(written["x"]) == 43
    assert load_public_jwk(written) == key


@given(st.integers(1, 2**200))
def test_key_id_equals_the_thumbprint_of_another_library(secret: int) -> None:
    key = ec.derive_private_key(secret, ec.SECP256R1()).public_key()
    document = public_jwk(key)
    other = ECKey.import_key({name: document[name] for name in ("kty", "crv", "x", "y")})
    assert key_id(key) == document["kid"] == other.thumbprint()


def test_fingerprint_is_the_beginning_of_the_thumbprint() -> None:
    assert key_fingerprint(JWK["kid"]) == base64url.decode(JWK["kid"]).hex()[:16]


@pytest.mark.parametrize(
    "kid", ["", "k1", "a" * 43, "é", pytest.param(JWK["kid"] + "=", id="padded")]
)
def test_fingerprint_of_another_kind_of_key_id_is_rejected(kid: str) -> None:
    with pytest.raises(KeyMaterialError):
        key_fingerprint(kid)


P384 = ec.generate_private_key(ec.SECP384R1()).public_key()


@pytest.mark.parametrize("function", [public_jwk, key_id])
def test_other_curve_is_rejected(function: Any) -> None:
    with pytest.raises(KeyMaterialError):
        function(P384)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"kty": "RSA"}, "UnsupportedKey"),
        ({"kty": "ec"}, "UnsupportedKey"),
        ({"kty": ["EC"]}, "UnsupportedKey"),
        ({"crv": "P-384"}, "UnsupportedKey"),
        ({"crv": "secp256k1"}, "UnsupportedKey"),
        ({"crv": None}, "UnsupportedKey"),
        ({"d": JWK["x"]}, "PrivateKeyExposed"),
        ({"x": ""}, "PublicKeyUnreadable"),
        ({"x": 7}, "PublicKeyUnreadable"),
        ({"x": None}, "PublicKeyUnreadable"),
        ({"x": JWK["x"] + "="}, "PublicKeyUnreadable"),
        ({"x": JWK["x"][:-2]}, "PublicKeyUnreadable"),
        ({"x": "AA" + JWK["x"]}, "PublicKeyUnreadable"),
        ({"x": JWK["x"][:-1] + "é"}, "PublicKeyUnreadable"),
        ({"x": "A" * 43, "y": "A" * 43}, "PublicKeyUnreadable"),
        ({"x": JWK["y"], "y": JWK["x"]}, "PublicKeyUnreadable"),
        ({"x": base64url.encode(b"\xff" * 32)}, "PublicKeyUnreadable"),
    ],
)
def test_jwk_that_is_not_a_public_p256_key_is_rejected(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(KeyMaterialError) as refused:
        load_public_jwk(JWK | change)
    assert refused.value.reason == reason
    assert JWK["x"] not in str(refused.value)


def test_jwk_is_plain_json() -> None:
    assert json.loads(json.dumps(JWK)) == JWK
