"""Keys as JWKs: one key has one spelling and one ID, and only P-256 is taken."""

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st
from joserfc.jwk import ECKey

from troth.pki import base64url
from troth.pki.errors import KeyMaterialError
from troth.pki.jwk import key_fingerprint, key_id, load_public_jwk, public_jwk

KEY = ec.generate_private_key(ec.SECP256R1())
JWK = public_jwk(KEY.public_key())


def test_a_key_is_read_back_as_it_was_written() -> None:
    assert load_public_jwk(JWK) == KEY.public_key()
    assert set(JWK) == {"kty", "crv", "x", "y", "kid"}


def test_a_key_with_leading_zeros_keeps_them() -> None:
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
def test_the_key_id_is_the_thumbprint_another_library_computes(secret: int) -> None:
    key = ec.derive_private_key(secret, ec.SECP256R1()).public_key()
    document = public_jwk(key)
    other = ECKey.import_key({name: document[name] for name in ("kty", "crv", "x", "y")})
    assert key_id(key) == document["kid"] == other.thumbprint()


def test_a_fingerprint_is_the_beginning_of_the_same_hash_in_hexadecimal() -> None:
    assert key_fingerprint(JWK["kid"]) == base64url.decode(JWK["kid"]).hex()[:16]


@pytest.mark.parametrize(
    "kid", ["", "k1", "a" * 43, "é", pytest.param(JWK["kid"] + "=", id="padded")]
)
def test_a_key_id_that_is_no_thumbprint_has_no_fingerprint(kid: str) -> None:
    with pytest.raises(KeyMaterialError):
        key_fingerprint(kid)


P384 = ec.generate_private_key(ec.SECP384R1()).public_key()


@pytest.mark.parametrize("function", [public_jwk, key_id])
def test_another_curve_is_refused(function: Any) -> None:
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
def test_what_is_no_public_key_on_p256_is_refused(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(KeyMaterialError) as refused:
        load_public_jwk(JWK | change)
    assert refused.value.reason == reason
    assert JWK["x"] not in str(refused.value)


def test_a_jwk_is_plain_json() -> None:
    assert json.loads(json.dumps(JWK)) == JWK
