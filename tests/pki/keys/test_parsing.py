"""Private keys without a primality test: no invalid key is accepted."""

import base64
import json
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa, x448
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.pki.builders import DOMAIN, by_hand, key, leaf, own_root
from tests.pki.keys.large_keys import EXPONENT, large_key, numbers, pem, with_exponent
from troth.pki.bundles.spiffe_bundle import parse_spiffe_bundle
from troth.pki.certificates.authorities import load_authority
from troth.pki.certificates.leaf import parse_leaf
from troth.pki.encodings.pem import MAX_CHAIN_BYTES, MAX_EXPONENT, read_certificates
from troth.pki.errors import CertificateError, KeyMaterialError
from troth.pki.keys.parsing import (
    LONGEST,
    UnreadableKeyError,
    UnsupportedKeyError,
    parse_private_key,
)
from troth.pki.keys.private import load_private_key
from troth.resources.algorithms import KeyAlgorithm

SIZES = frozenset({2048})


def sound() -> rsa.RSAPrivateNumbers:
    made = key(KeyAlgorithm.RSA_2048)
    assert isinstance(made, rsa.RSAPrivateKey)
    return made.private_numbers()


def der_pem(*values: int) -> bytes:
    """An `RSA PRIVATE KEY` of any numbers: n, e, d, p, q and the three that speed signing up."""
    body = b"".join(integer(value) for value in (0, *values))
    block = base64.encodebytes(tlv(0x30, body))
    return b"-----BEGIN RSA PRIVATE KEY-----\n" + block + b"-----END RSA PRIVATE KEY-----\n"


def integer(value: int) -> bytes:
    return tlv(2, value.to_bytes(value.bit_length() // 8 + 1))


def tlv(tag: int, body: bytes) -> bytes:
    length = len(body).to_bytes((len(body).bit_length() + 7) // 8 or 1)
    lengths = length if len(body) < 128 else bytes([0x80 | len(length)]) + length
    return bytes([tag]) + lengths + body


def changed(**values: int) -> bytes:
    """The sound key with some of its numbers changed."""
    good = sound()
    every = {
        "n": good.public_numbers.n,
        "e": good.public_numbers.e,
        "d": good.d,
        "p": good.p,
        "q": good.q,
        "dmp1": good.dmp1,
        "dmq1": good.dmq1,
        "iqmp": good.iqmp,
    }
    return der_pem(*(every | values).values())


def test_valid_key_is_parsed() -> None:
    assert (
        parse_private_key(changed(), SIZES).public_key() == key(KeyAlgorithm.RSA_2048).public_key()
    )


@pytest.mark.parametrize("name", ["n", "d", "dmp1", "dmq1", "iqmp", "p", "q"])
@pytest.mark.parametrize("change", [lambda value: value ^ 4, lambda _: 0, lambda _: 1])
def test_key_with_inconsistent_numbers_is_rejected(name: str, change: Callable[[int], int]) -> None:
    good = sound()
    value = good.public_numbers.n if name == "n" else getattr(good, name)
    with pytest.raises((UnreadableKeyError, UnsupportedKeyError)):
        parse_private_key(changed(**{name: change(value)}), SIZES)


@pytest.mark.parametrize("exponent", [0, 1, 2, 4, EXPONENT + 1])
def test_key_with_an_insecure_exponent_is_rejected(exponent: int) -> None:
    """With the exponent 1 a signature is the message itself, so everybody can sign."""
    with pytest.raises(UnreadableKeyError):
        parse_private_key(changed(e=exponent), SIZES)
    consistent = changed(e=1, d=1, dmp1=1, dmq1=1)
    with pytest.raises(UnreadableKeyError):
        parse_private_key(consistent, SIZES)


def test_key_whose_primes_do_not_give_the_modulus_is_rejected() -> None:
    n = sound().public_numbers.n
    with pytest.raises(UnreadableKeyError):
        parse_private_key(changed(p=1, q=n, dmp1=0, iqmp=0), SIZES)


@pytest.mark.parametrize("bits", [8192, 16384])
def test_large_key_is_rejected_with_the_supported_kinds(bits: int) -> None:
    with pytest.raises(KeyMaterialError, match="use one of ECDSA-P256") as rejected:
        load_private_key(pem(large_key(bits)))
    assert rejected.value.reason == "UnsupportedKey"


def test_large_key_file_is_rejected_with_what_belongs_there() -> None:
    with pytest.raises(KeyMaterialError, match="RSA-4096, and nothing else") as rejected:
        load_private_key(b"x" * (LONGEST + 1))
    assert rejected.value.reason == "PrivateKeyTooLarge"


def test_costly_kind_of_key_is_rejected_unparsed() -> None:
    """OpenSSL takes 0.3 s to find that these 10,000 bits are no Diffie-Hellman group."""
    oid = bytes.fromhex("2a864886f70d010301")
    group = tlv(0x30, tlv(6, oid) + tlv(0x30, integer(2**9999 + 1) + integer(2**9998 + 1)))
    secret = tlv(4, integer(2**9997 + 1))
    block = base64.encodebytes(tlv(0x30, integer(0) + group + secret))
    with pytest.raises(UnsupportedKeyError):
        parse_private_key(
            b"-----BEGIN PRIVATE KEY-----\n" + block + b"-----END PRIVATE KEY-----\n", SIZES
        )


def test_ec_key_with_mismatched_halves_is_rejected() -> None:
    mine, other = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    whole = mine.private_bytes(Encoding.DER, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    points = [each.public_key().public_numbers() for each in (mine, other)]
    old, new = (each.x.to_bytes(32) + each.y.to_bytes(32) for each in points)
    assert old in whole
    block = base64.encodebytes(whole.replace(old, new))
    with pytest.raises(UnreadableKeyError):
        parse_private_key(
            b"-----BEGIN EC PRIVATE KEY-----\n" + block + b"-----END EC PRIVATE KEY-----\n", SIZES
        )


def test_key_agreement_key_is_unsupported() -> None:
    made = x448.X448PrivateKey.generate()
    with pytest.raises(UnsupportedKeyError):
        parse_private_key(
            made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), SIZES
        )


@pytest.mark.parametrize("where", ["tls.crt", "ca.crt"])
def test_large_certificate_file_is_rejected_unparsed(where: str) -> None:
    authority = own_root()
    root = authority.authority.anchors[0]
    large = root * (MAX_CHAIN_BYTES // len(root) + 1)
    chain, roots = (large, root) if where == "tls.crt" else (leaf(authority), large)
    with pytest.raises(CertificateError, match=f"{where} is larger than 65536 bytes") as rejected:
        load_authority(chain, None, roots, DOMAIN)
    assert rejected.value.reason == "CertificatesTooLarge"
    with pytest.raises(CertificateError, match=r"tls\.crt is larger") as rejected:
        parse_leaf(large)
    assert rejected.value.reason == "CertificatesTooLarge"


def test_large_numbers_are_consistent() -> None:
    """The keys of the tests are sound, so that they are rejected for their size alone."""
    made = large_key(8192).private_numbers()
    assert numbers(made.p, made.q, made.d) == made
    found = parse_private_key(pem(large_key(8192)), range(2048, 8193))
    assert found.public_key() == large_key(8192).public_key()


@pytest.mark.parametrize("exponent", [MAX_EXPONENT + 2, 2**2000 + 1], ids=["least", "large"])
def test_key_with_a_large_exponent_is_rejected(exponent: int) -> None:
    """Each verification of its signatures would take up to 68 times as long."""
    slow = with_exponent(exponent)
    with pytest.raises(UnreadableKeyError):
        parse_private_key(pem(slow), SIZES)
    certificate = by_hand("slow", own_key=slow)
    with pytest.raises(CertificateError, match="exponent is larger than 2147483647") as rejected:
        read_certificates(certificate.pem, "ca.crt")
    assert rejected.value.reason == "UnsupportedKey"
    der = certificate.certificate.public_bytes(Encoding.DER)
    jwk = {"use": "x509-svid", "kty": "RSA", "x5c": [base64.b64encode(der).decode()]}
    with pytest.raises(CertificateError, match="exponent is larger"):
        parse_spiffe_bundle(json.dumps({"keys": [jwk]}).encode(), DOMAIN)


@pytest.mark.parametrize("exponent", [3, 17, 65537, MAX_EXPONENT])
def test_certificate_with_a_usual_exponent_is_read(exponent: int) -> None:
    certificate = by_hand("usual", own_key=with_exponent(exponent))
    assert read_certificates(certificate.pem, "ca.crt") == [certificate.certificate]
