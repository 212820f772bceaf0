"""SPIFFE bundles: deterministic output, strict input."""

import json
from base64 import b64encode
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from tests.pki.builders import NOW, by_hand
from troth.pki.bundles.spiffe_bundle import (
    bundle_document,
    bundle_map_document,
    parse_bundle_map,
    parse_spiffe_bundle,
)
from troth.pki.errors import PKIError
from troth.pki.keys.jwk import public_jwk
from troth.resources.algorithms import KeyAlgorithm

DOMAIN = "prod.shop.example"
ROOTS = [by_hand(f"root-{algorithm}", algorithm=algorithm) for algorithm in KeyAlgorithm]
KEYS = [ec.generate_private_key(ec.SECP256R1()).public_key() for _ in range(3)]
JWKS = [public_jwk(key) for key in KEYS]
DOCUMENT = bundle_document([root.pem for root in ROOTS], JWKS)


def read(document: object) -> Any:
    return parse_spiffe_bundle(json.dumps(document), DOMAIN)


def test_bundle_survives_a_round_trip() -> None:
    bundle = read(DOCUMENT)
    assert bundle.trust_domain == DOMAIN
    assert set(bundle.x509_authorities) == {root.pem for root in ROOTS}
    assert bundle.jwt_keys == {jwk["kid"]: key for jwk, key in zip(JWKS, KEYS, strict=True)}


def test_order_and_repetition_do_not_change_the_bundle() -> None:
    pems = [root.pem for root in ROOTS]
    assert bundle_document([*reversed(pems), pems[0]], [*reversed(JWKS), JWKS[0]]) == DOCUMENT


def test_element_has_only_its_use_and_its_key() -> None:
    for element in DOCUMENT["keys"]:
        members = {"EC": {"crv", "x", "y"}, "RSA": {"n", "e"}, "OKP": {"crv", "x"}}[element["kty"]]
        if element["use"] == "x509-svid":
            assert set(element) == {"use", "kty", "x5c"} | members
            assert len(element["x5c"]) == 1
        else:
            assert set(element) == {"use", "kty", "kid"} | members
    assert DOCUMENT["spiffe_refresh_hint"] == 60


def test_private_key_is_never_in_a_bundle() -> None:
    with pytest.raises(PKIError) as refused:
        bundle_document([], [JWKS[0] | {"d": "secret"}])
    assert refused.value.reason == "PrivateKeyExposed"


def test_bundle_map_survives_a_round_trip() -> None:
    other = bundle_document([], JWKS[:1])
    text = json.dumps(bundle_map_document({DOMAIN: DOCUMENT, "a.example": other}))
    bundles = parse_bundle_map(text)
    assert list(bundles) == ["a.example", DOMAIN]
    assert bundles[DOMAIN] == read(DOCUMENT)
    assert bundles["a.example"].trust_domain == "a.example"
    assert not bundles["a.example"].x509_authorities


def test_unknown_key_types_and_uses_are_ignored() -> None:
    """Section 4.2: unknown key types and uses are ignored, whole."""
    foreign = [
        {"use": "wit-svid", **JWKS[0]},
        {"use": ["jwt-svid"], **JWKS[0]},
        JWKS[1],
        {"use": "jwt-svid", "kty": "RSA", "kid": "r", "n": "AQAB", "e": "AQAB"},
        {"use": "jwt-svid", "kty": "EC", "crv": "P-384", "kid": "p", "x": "A", "y": "A"},
        {"use": "jwt-svid", "kty": "future", "kid": "f"},
    ]
    bundle = read({"keys": foreign, "spiffe_sequence": 7, "note": "more"})
    assert not bundle.x509_authorities
    assert not bundle.jwt_keys


DER = b64encode(ROOTS[0].certificate.public_bytes(Encoding.DER)).decode()
AUTHORITY = {"use": "x509-svid", "kty": "EC"}
JWT = {"use": "jwt-svid"} | JWKS[0]


ODD_KEYS: list[list[dict[str, Any]]] = [
    [AUTHORITY],
    [AUTHORITY | {"x5c": []}],
    [AUTHORITY | {"x5c": [DER, DER]}],
    [AUTHORITY | {"x5c": DER}],
    [AUTHORITY | {"x5c": [7]}],
    [AUTHORITY | {"x5c": ["AAAA"]}],
    [AUTHORITY | {"x5c": [DER[:-4]]}],
    [AUTHORITY | {"x5c": [DER.replace("A", "\n", 1)]}],
    [AUTHORITY | {"x5c": [ROOTS[0].pem.decode()]}],
    [{name: value for name, value in JWT.items() if name != "kid"}],
    [JWT | {"kid": ""}],
    [JWT | {"kid": 7}],
    [JWT | {"kid": "a" * 256}],
    [JWT, JWT],
    [JWT, {"use": "jwt-svid", "kty": "EC", **JWKS[1], "kid": JWT["kid"]}],
    [JWT | {"x": "AA"}],
    [JWT | {"d": "AA"}],
]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "{}",
        '{"keys": {}}',
        '{"keys": [1]}',
        '{"keys": [], "keys": []}',
        json.dumps(DOCUMENT)[:-40],
        json.dumps(DOCUMENT) + "x",
        json.dumps(DOCUMENT).encode("utf-16"),
        *(json.dumps({"keys": keys}) for keys in ODD_KEYS),
    ],
)
def test_invalid_bundle_is_rejected_as_a_whole(text: str | bytes) -> None:
    with pytest.raises(PKIError):
        parse_spiffe_bundle(text, DOMAIN)


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        '{"trust_domains": []}',
        '{"trust_domains": {"Upper.example": {"keys": []}}}',
        '{"trust_domains": {"": {"keys": []}}}',
        '{"trust_domains": {"spiffe://a.example": {"keys": []}}}',
        '{"trust_domains": {"a.example": {"keys": []}, "a.example": {"keys": []}}}',
        '{"trust_domains": {"a.example": []}}',
        '{"trust_domains": {"a.example": {"keys": []}, "b.example": null}}',
    ],
)
def test_map_with_one_invalid_bundle_is_rejected_as_a_whole(text: str) -> None:
    with pytest.raises(PKIError):
        parse_bundle_map(text)


def test_bundle_requires_a_valid_trust_domain() -> None:
    with pytest.raises(PKIError):
        parse_spiffe_bundle(json.dumps(DOCUMENT), "not a domain")


# Retired authorities and keys


HOUR = timedelta(hours=1)
SECONDS = NOW.timestamp()


def with_retired() -> dict[str, Any]:
    """A bundle with one authority and one key in use, and one of each that were retired."""
    return bundle_document(
        [ROOTS[0].pem],
        JWKS[:1],
        retired_authorities=[(ROOTS[1].pem, NOW)],
        retired_keys=[(JWKS[1], NOW)],
    )


def test_retired_authorities_and_keys_survive_a_round_trip() -> None:
    bundle = read(with_retired())
    assert set(bundle.x509_authorities) == {ROOTS[0].pem, ROOTS[1].pem}
    assert bundle.retired_authorities == {ROOTS[1].pem: SECONDS}
    assert set(bundle.jwt_keys) == {JWKS[0]["kid"], JWKS[1]["kid"]}
    assert bundle.retired_keys == {JWKS[1]["kid"]: SECONDS}


def test_retired_key_verifies_only_what_was_made_before() -> None:
    bundle = read(with_retired())
    assert set(bundle.keys_at(SECONDS)) == {JWKS[0]["kid"], JWKS[1]["kid"]}
    assert set(bundle.keys_at(SECONDS + 1)) == {JWKS[0]["kid"]}
    assert set(bundle.keys_at(SECONDS + 300, 300)) == {JWKS[0]["kid"], JWKS[1]["kid"]}
    assert set(bundle.keys_at(SECONDS + 301, 300)) == {JWKS[0]["kid"]}


def test_authority_in_use_is_not_retired() -> None:
    document = bundle_document(
        [ROOTS[0].pem],
        JWKS[:1],
        retired_authorities=[(ROOTS[0].pem, NOW)],
        retired_keys=[(JWKS[0], NOW)],
    )
    assert document == bundle_document([ROOTS[0].pem], JWKS[:1])


def test_last_retirement_of_an_authority_counts() -> None:
    times = [(ROOTS[0].pem, NOW), (ROOTS[0].pem, NOW - HOUR)]
    keys = [(JWKS[0], NOW), (JWKS[0], NOW - HOUR)]
    bundle = read(bundle_document([], [], retired_authorities=times, retired_keys=keys))
    assert bundle.retired_authorities == {ROOTS[0].pem: SECONDS}
    assert bundle.retired_keys == {JWKS[0]["kid"]: SECONDS}


@pytest.mark.parametrize("at", [None, True, "1", 1.5, -1, 2**53, [], {}])
def test_invalid_time_of_retirement_is_rejected(at: object) -> None:
    for number in range(2):
        document = json.loads(json.dumps(with_retired()))
        elements = [each for each in document["keys"] if "troth_retired_at" in each]
        elements[number]["troth_retired_at"] = at
        with pytest.raises(PKIError) as rejected:
            read(document)
        assert rejected.value.reason == "BundleUnreadable"
