"""Keystores open only with their password, and report whether they are up to date."""

import pytest
from cryptography.hazmat.primitives.serialization import pkcs12
from hypothesis import given
from hypothesis import strategies as st

from tests.pki import builders
from tests.pki.builders import by_hand, key, leaf, own_root
from troth.pki.bundles.keystores import (
    keystore_matches,
    keystore_password,
    pkcs12_keystore,
    pkcs12_truststore,
    truststore_fingerprints,
)
from troth.pki.encodings.pem import fingerprint
from troth.pki.errors import CertificateError, KeyMaterialError
from troth.resources.algorithms import KeyAlgorithm

# `cryptography` says so when it tries a damaged store as BER too.
BER = pytest.mark.filterwarnings("ignore:PKCS#12 bundle could not be parsed as DER:UserWarning")
PASSWORD = "correct horse"
TOP = by_hand("root")
MIDDLE = by_hand("intermediate", TOP)
LEAF = leaf(builders.given(MIDDLE, TOP))
KEYSTORE = pkcs12_keystore(key(), LEAF, [TOP.pem], PASSWORD)
TRUSTSTORE = pkcs12_truststore([TOP.pem, MIDDLE.pem], PASSWORD)


def test_passwords_are_long_and_unique() -> None:
    passwords = {keystore_password() for _ in range(100)}
    assert len(passwords) == 100
    assert all(len(password) == 43 and password.isascii() for password in passwords)


def test_keystore_holds_leaf_key_chain_and_anchors() -> None:
    store = pkcs12.load_pkcs12(KEYSTORE, PASSWORD.encode())
    assert store.cert is not None
    assert store.cert.friendly_name == b"troth"
    assert {each.certificate for each in store.additional_certs} == {
        MIDDLE.certificate,
        TOP.certificate,
    }


@pytest.mark.parametrize("algorithm", KeyAlgorithm)
def test_keystore_matches_its_own_leaf(algorithm: KeyAlgorithm) -> None:
    chain = leaf(own_root(), algorithm=algorithm)
    store = pkcs12_keystore(key(algorithm), chain, [], PASSWORD)
    assert keystore_matches(store, PASSWORD, chain)


def test_keystore_does_not_match_another_leaf_password_or_key() -> None:
    assert keystore_matches(KEYSTORE, PASSWORD, LEAF)
    assert not keystore_matches(KEYSTORE, "wrong", LEAF)
    assert not keystore_matches(KEYSTORE, PASSWORD, leaf(own_root()))
    assert not keystore_matches(KEYSTORE, PASSWORD, b"junk")
    assert not keystore_matches(TRUSTSTORE, PASSWORD, LEAF)


@BER
@given(st.binary(max_size=200))
def test_garbage_does_not_match_and_raises_nothing(garbage: bytes) -> None:
    assert not keystore_matches(garbage, PASSWORD, LEAF)
    assert truststore_fingerprints(garbage, PASSWORD) is None


@BER
@given(st.integers(0, 100_000), st.integers(1, 255))
def test_damaged_store_raises_nothing(position: int, flip: int) -> None:
    for store in (KEYSTORE, TRUSTSTORE):
        damaged = bytearray(store)
        damaged[position % len(damaged)] ^= flip
        keystore_matches(bytes(damaged), PASSWORD, LEAF)
        truststore_fingerprints(bytes(damaged), PASSWORD)


def test_truststore_holds_only_the_anchors() -> None:
    assert truststore_fingerprints(TRUSTSTORE, PASSWORD) == frozenset(
        fingerprint(each.certificate) for each in (TOP, MIDDLE)
    )
    assert truststore_fingerprints(TRUSTSTORE, "wrong") is None


def test_keystore_with_another_key_is_rejected() -> None:
    with pytest.raises(KeyMaterialError):
        pkcs12_keystore(key(which="other"), LEAF, [], PASSWORD)


def test_truststore_without_anchors_is_rejected() -> None:
    with pytest.raises(CertificateError):
        pkcs12_truststore([], PASSWORD)
