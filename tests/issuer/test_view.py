"""The operator's Secret is accepted as a whole or rejected."""

import gzip
import json
import tracemalloc
import zlib
from typing import Any

import pytest

from tests.issuer import builders
from tests.issuer.builders import (
    CHECKOUT,
    DOMAIN,
    PAYMENTS,
    VIEW,
    configuration,
    secret,
    secret_data,
)
from tests.pki import builders as pki
from tests.pki.keys.large_keys import large_key, pem
from troth.documents import token_grants as view_module
from troth.documents.token_grants import ConfigurationError, read_grants
from troth.issuer.configuration import read_configuration
from troth.pki.keys.jwk import key_id
from troth.pki.keys.private import private_key_pem
from troth.resources.algorithms import KeyAlgorithm


def packed(document: Any) -> bytes:
    return gzip.compress(json.dumps(document).encode())


def complaint(compressed: bytes) -> str:
    with pytest.raises(ConfigurationError) as caught:
        read_grants(compressed)
    return str(caught.value)


def refusal(**changes: bytes | None) -> str:
    parts = secret_data() | {name.replace("__", "."): part for name, part in changes.items()}
    with pytest.raises(ConfigurationError) as caught:
        read_configuration(secret({name: part for name, part in parts.items() if part is not None}))
    return str(caught.value)


# View


def test_complete_view_is_read() -> None:
    view = read_grants(packed(VIEW))
    assert view.callers[CHECKOUT].audiences[PAYMENTS].scopes == {
        "payments.charge",
        "payments.refund",
    }
    starting = view.callers[CHECKOUT].starts_transactions
    assert starting is not None
    assert starting.context == {"channel"}
    assert view.callers[PAYMENTS].starts_transactions is None


def test_unknown_field_of_a_later_operator_is_ignored() -> None:
    assert read_grants(packed({**VIEW, "writtenAt": "2026-11-25T12:00:00Z"})) == read_grants(
        packed(VIEW)
    )
    more = builders.view()
    more["callers"][CHECKOUT]["audiences"][PAYMENTS]["since"] = "2026-11-25T12:00:00Z"
    assert read_grants(packed(more)) == read_grants(packed(VIEW))


def test_edge_takes_less_than_500_bytes_of_memory() -> None:
    """The previous view stays in use while a new one is read, in a pod with 256 MiB."""
    callers = [f"spiffe://{DOMAIN}/ns/shop/sa/service-number-{number}" for number in range(100)]
    grant = {"scopes": ["read", "write"], "lifetime": 300}
    entries = {caller: {"audiences": dict.fromkeys(callers, grant)} for caller in callers}
    compressed = packed({**VIEW, "callers": entries})
    read_grants(compressed)
    tracemalloc.start()
    try:
        view = read_grants(compressed)
        room, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert room / sum(len(each.audiences) for each in view.callers.values()) < 500


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"version": "v2"}, "version"),
        ({"trustDomain": "Prod.Example"}, "trustDomain"),
        ({"issuer": "http://issuer.example"}, "issuer"),
        ({"issuer": "https://issuer.example?a=b"}, "issuer"),
        ({"issuer": "https://"}, "issuer"),
        ({"maxLifetime": 901}, "maxLifetime"),
        ({"maxLifetime": "900"}, "maxLifetime"),
        ({"maxLifetime": True}, "maxLifetime"),
        ({"callers": None}, "callers"),
        ({"callers": {"checkout": {"audiences": {}}}}, "callers"),
        ({"callers": {f"spiffe://{DOMAIN}": {"audiences": {}}}}, "callers"),
        ({"callers": {CHECKOUT: {}}}, "callers"),
        ({"callers": {CHECKOUT: {"audiences": {"": {"scopes": [], "lifetime": 1}}}}}, "callers"),
        ({"callers": {CHECKOUT: {"audiences": {"a": {"scopes": [], "lifetime": 0}}}}}, "callers"),
        ({"callers": {CHECKOUT: {"audiences": {"a": {"scopes": "x", "lifetime": 1}}}}}, "callers"),
        ({"callers": {CHECKOUT: {"audiences": {"a": {"scopes": [], "lifetime": "1"}}}}}, "callers"),
        ({"callers": {CHECKOUT: {"audiences": {"a": {"scopes": []}}}}}, "callers"),
        ({"callers": {CHECKOUT: {"audiences": {"a": [[], 1]}}}}, "callers"),
        (
            {"callers": {CHECKOUT: {"audiences": {"a": {"scopes": ["a b"], "lifetime": 1}}}}},
            "callers",
        ),
        (
            {"callers": {CHECKOUT: {"audiences": {}, "startsTransactions": {"scopes": []}}}},
            "callers",
        ),
    ],
)
def test_view_with_one_invalid_part_is_rejected(changes: dict[str, Any], where: str) -> None:
    assert complaint(packed({**VIEW, **changes})).startswith(
        f"the issuer configuration is invalid: {where} "
    )


def test_caller_of_another_trust_domain_is_rejected() -> None:
    stranger: dict[str, Any] = {"spiffe://other.example/ns/shop/sa/checkout": {"audiences": {}}}
    assert "the issuer configuration is invalid" in complaint(packed({**VIEW, "callers": stranger}))


def test_rejected_value_is_not_quoted() -> None:
    assert "hunter2" not in complaint(packed({**VIEW, "issuer": "hunter2"}))
    assert "hunter2" not in complaint(packed({**VIEW, "callers": {"hunter2": {"audiences": {}}}}))
    odd = {CHECKOUT: {"audiences": {"hunter2": {"scopes": ["hunter 2"], "lifetime": "hunter2"}}}}
    assert "hunter" not in complaint(packed({**VIEW, "callers": odd}))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        packed(VIEW)[:-9],
        packed(VIEW) + b"\0",
        packed(VIEW) + packed(VIEW),
        zlib.compress(json.dumps(VIEW).encode()),
        gzip.compress(b"[]"),
        gzip.compress(b"{"),
        gzip.compress(b"\xff"),
    ],
    ids=[
        "nothing",
        "not compressed",
        "truncated",
        "something behind",
        "two",
        "another format",
        "a list",
        "half an object",
        "no text",
    ],
)
def test_data_that_is_no_compressed_view_is_rejected(data: bytes) -> None:
    complaint(data)


def test_decompression_stops_at_the_size_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bomb = gzip.compress(b" " * 50_000_000)
    monkeypatch.setattr(view_module, "LONGEST", 100_000)
    tracemalloc.start()
    try:
        assert complaint(bomb) == "the issuer configuration is longer than 100000 bytes"
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


# Keys


def test_keys_of_all_slots_are_served_and_the_current_one_signs() -> None:
    current = configuration(retiring="old")
    served = json.loads(current.key_set)["keys"]
    ids = [key_id(builders.signing_key(name).public_key()) for name in ("current", "next", "old")]
    assert [key["kid"] for key in served] == ids
    assert set(current.verifying.jwt_keys) == set(ids)
    assert current.signer.kid == ids[0]
    assert all((key["use"], key["alg"]) == ("sig", "ES256") for key in served)
    assert not any("d" in key for key in served)


def test_domain_without_a_next_key_is_served() -> None:
    assert len(configuration(following=None).verifying.jwt_keys) == 1


def test_unpublished_key_does_not_sign() -> None:
    with pytest.raises(ConfigurationError, match=r"bundle\.json lacks current\.key"):
        configuration(published=("next",))


@pytest.mark.parametrize("part", ["current__key", "view__json__gz", "bundle__json"])
def test_missing_part_is_named(part: str) -> None:
    assert refusal(**{part: None}).startswith(part.replace("__", "."))


@pytest.mark.parametrize("algorithm", [KeyAlgorithm.ED25519, KeyAlgorithm.ECDSA_P384])
def test_key_of_another_kind_is_rejected(algorithm: KeyAlgorithm) -> None:
    pem = private_key_pem(pki.key(algorithm))
    assert refusal(current__key=pem) == "current.key is a key that does not sign with ES256"
    assert refusal(next__key=pem) == "next.key is a key that does not sign with ES256"


@pytest.mark.parametrize(
    ("parts", "why"),
    [
        ({"current.key": b"x" * 16_389}, r"current\.key is larger than 16384 bytes"),
        ({"next.key": b"x" * 16_389}, r"next\.key is larger than 16384 bytes"),
        ({"retiring.jwk": b"x" * 16_389}, r"retiring\.jwk is larger than 16384 bytes"),
        ({"current.key": pem(large_key(16384))}, r"current\.key is not a key: UnsupportedKey"),
    ],
)
def test_key_that_is_too_large_is_not_parsed(parts: dict[str, bytes], why: str) -> None:
    with pytest.raises(ConfigurationError, match=why):
        read_configuration(secret(secret_data() | parts))


def test_unreadable_keys_and_bundles_are_rejected_and_not_quoted() -> None:
    said = [
        refusal(current__key=b"hunter2"),
        refusal(next__key=b"hunter2"),
        refusal(retiring__jwk=b'{"d": "hunter2"}'),
        refusal(retiring__jwk=b"[]"),
        refusal(retiring__jwk=b"hunter2"),
        refusal(bundle__json=b"hunter2"),
        refusal(bundle__json=b'{"keys": "hunter2"}'),
    ]
    assert not any("hunter2" in each for each in said)


def test_value_that_is_not_base64_is_rejected() -> None:
    broken = secret()
    broken["data"]["current.key"] = "!!"
    with pytest.raises(ConfigurationError, match=r"current\.key is missing or is not base64"):
        read_configuration(broken)


def test_repr_shows_no_key() -> None:
    shown = repr(configuration())
    assert "PRIVATE" not in shown
    assert str(builders.signing_key().private_numbers().private_value) not in shown
    assert "spiffe://" not in shown
