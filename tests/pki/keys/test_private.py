"""Private keys: PKCS#8 output, strict input, and no key in errors."""

import pickle

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from tests.pki.builders import by_hand, key
from troth.pki.errors import KeyMaterialError
from troth.pki.keys.private import algorithm_of, load_private_key, private_key_pem, same_key
from troth.resources.algorithms import KeyAlgorithm

ALGORITHMS = pytest.mark.parametrize("algorithm", KeyAlgorithm)
# An Ed25519 key in which one bit of the algorithm's identifier is another.
SHORT_X448 = (
    b"-----BEGIN PRIVATE KEY-----\n"
    b"MC4CAQAwBQYDK2VvBCIEIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f\n"
    b"-----END PRIVATE KEY-----\n"
)
EC_PARAMETERS = b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"


@ALGORITHMS
def test_generated_key_has_the_requested_algorithm(algorithm: KeyAlgorithm) -> None:
    assert algorithm_of(key(algorithm).public_key()) is algorithm


@ALGORITHMS
def test_key_survives_a_round_trip(algorithm: KeyAlgorithm) -> None:
    pem = private_key_pem(key(algorithm))
    assert pem.startswith(b"-----BEGIN PRIVATE KEY-----")
    assert load_private_key(pem).public_key() == key(algorithm).public_key()


@pytest.mark.parametrize("algorithm", [KeyAlgorithm.ECDSA_P256, KeyAlgorithm.RSA_2048])
def test_older_key_formats_are_read(algorithm: KeyAlgorithm) -> None:
    pem = key(algorithm).private_bytes(
        Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()
    )
    assert load_private_key(pem).public_key() == key(algorithm).public_key()


def test_curve_block_of_openssl_is_ignored() -> None:
    pem = key().private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    assert load_private_key(EC_PARAMETERS + pem).public_key() == key().public_key()


@pytest.mark.parametrize(
    "format_", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL], ids=str
)
def test_encrypted_key_is_rejected_with_its_own_reason(format_: PrivateFormat) -> None:
    pem = key().private_bytes(Encoding.PEM, format_, BestAvailableEncryption(b"secret"))
    with pytest.raises(KeyMaterialError) as refused:
        load_private_key(pem)
    assert refused.value.reason == "PrivateKeyEncrypted"


@pytest.mark.parametrize(
    "pem",
    [
        b"",
        b"not a key",
        private_key_pem(key())[:-40],
        private_key_pem(key()) * 2,
        private_key_pem(key()) + by_hand("someone").pem,
        by_hand("someone").pem,
        b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        EC_PARAMETERS,
    ],
)
def test_file_without_exactly_one_key_is_rejected(pem: bytes) -> None:
    with pytest.raises(KeyMaterialError) as refused:
        load_private_key(pem)
    assert refused.value.reason == "PrivateKeyUnreadable"


@pytest.mark.parametrize(
    "foreign",
    [
        ec.generate_private_key(ec.SECP521R1()),
        rsa.generate_private_key(65537, 1024),
        ed448.Ed448PrivateKey.generate(),
        dsa.generate_private_key(1024),
    ],
    ids=lambda each: type(each).__name__,
)
def test_unsupported_key_is_rejected_with_the_supported_kinds(
    foreign: ec.EllipticCurvePrivateKey,
) -> None:
    pem = foreign.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with pytest.raises(KeyMaterialError, match="ECDSA-P256") as refused:
        load_private_key(pem)
    assert refused.value.reason == "UnsupportedKey"


@given(st.integers(0, 10_000), st.integers(0, 255))
def test_damaged_key_is_rejected_and_never_quoted(position: int, byte: int) -> None:
    pem = bytearray(private_key_pem(key()))
    body = pem.split(b"\n")[1].decode()
    pem[position % len(pem)] = byte
    refused = refusal(bytes(pem))
    if refused:
        shown = str(refused) + repr(refused)
        assert not any(body[at : at + 8] in shown for at in range(len(body) - 8))
        assert refused.__suppress_context__ or refused.__context__ is None


def refusal(pem: bytes) -> KeyMaterialError | None:
    try:
        load_private_key(pem)
    except KeyMaterialError as refused:
        return refused
    return None


def test_certificate_matches_only_its_own_key() -> None:
    one, other = by_hand("one"), by_hand("other")
    assert same_key(one.certificate, one.key)
    assert not same_key(one.certificate, other.key)


def test_pickled_error_keeps_its_reason() -> None:
    with pytest.raises(KeyMaterialError) as refused:
        load_private_key(b"")
    copy = pickle.loads(pickle.dumps(refused.value))
    assert (copy.reason, str(copy)) == (refused.value.reason, str(refused.value))


def test_file_with_only_begin_lines_is_rejected_quickly() -> None:
    """A megabyte of it, as large as a Secret can be, kept the operator busy for minutes."""
    with pytest.raises(KeyMaterialError, match="larger than 16384 bytes"):
        load_private_key(b"-----BEGIN A-----" * 60_000)
    with pytest.raises(KeyMaterialError, match="exactly one readable private key"):
        load_private_key(b"-----BEGIN A-----" * 960)


def test_key_that_crashes_openssls_parser_is_rejected() -> None:
    with pytest.raises(KeyMaterialError) as refused:
        load_private_key(SHORT_X448)
    assert refused.value.reason == "UnsupportedKey"
