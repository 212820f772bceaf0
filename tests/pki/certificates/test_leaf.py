"""Facts of a leaf, and its renewal time."""

from base64 import b64encode
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from tests.pki import builders
from tests.pki.builders import DAY, NOW, PAYMENTS, by_hand, key, leaf, own_root, profile, uri
from troth.pki.certificates.issuing import issue
from troth.pki.certificates.leaf import BACKDATE, parse_leaf, renewal_due, renewal_spread, short
from troth.pki.certificates.subjects import Subject
from troth.pki.encodings.pem import fingerprint, read_certificates
from troth.pki.errors import PKIError
from troth.pki.keys.private import private_key_pem
from troth.resources.algorithms import KeyAlgorithm


def test_leaf_survives_a_round_trip() -> None:
    authority = own_root()
    wanted = replace(profile("pay.shop.example"), subject=Subject("payments", "shop"))
    pem = issue(wanted, key(KeyAlgorithm.ED25519), authority, NOW)
    read, made = parse_leaf(pem), read_certificates(pem, "tls.crt")[0]
    assert read.spiffe_id == PAYMENTS
    assert read.dns_names == ("pay.shop.example",)
    assert read.subject == "UID=payments,OU=shop"
    assert read.algorithm is KeyAlgorithm.ED25519
    assert (read.not_before, read.issued_at, read.not_after) == (NOW - BACKDATE, NOW, NOW + DAY)
    assert int(read.serial, 16) == made.serial_number
    assert read.fingerprint == fingerprint(made)
    assert read.authority_key_id == authority.authority.subject_key_id
    assert authority.authority.issued(read)


def test_leaf_belongs_to_the_authority_whose_key_signed_it() -> None:
    other = own_root(which="another")
    assert not other.authority.issued(parse_leaf(leaf(own_root())))


def test_leaf_with_an_older_chain_does_not_belong_to_the_authority() -> None:
    top = by_hand("root")
    older, newer = by_hand("intermediate", top), by_hand("intermediate", top)
    assert older.key is newer.key
    read = parse_leaf(leaf(builders.given(older, top)))
    assert builders.given(older, top).authority.issued(read)
    assert not builders.given(newer, top).authority.issued(read)


GOOD = leaf(own_root())
TOP = by_hand("root")


@pytest.mark.parametrize(
    ("pem", "reason"),
    [
        (b"", "CertificateMissing"),
        (b"  \n", "CertificateMissing"),
        (b"garbage", "NotPEM"),
        (b"\xff\xfe\x00", "NotPEM"),
        (GOOD + b"trailing", "PEMUnreadable"),
        (b"leading" + GOOD, "PEMUnreadable"),
        (GOOD[:-30], "PEMUnreadable"),
        (GOOD + GOOD[:50], "PEMUnreadable"),
        (GOOD + private_key_pem(key()), "NotACertificate"),
        (
            b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            "CertificateUnreadable",
        ),
        (TOP.pem, "NotALeaf"),
        (by_hand("x", TOP, ca=False).pem, "NotAnSVID"),
        (by_hand("x", TOP, ca=False, names=[x509.DNSName("a")]).pem, "NotAnSVID"),
        (by_hand("x", TOP, ca=False, names=[uri(PAYMENTS)] * 2).pem, "NotAnSVID"),
        (by_hand("x", TOP, ca=False, names=[uri("spiffe://td.example")]).pem, "NotAnSVID"),
        (by_hand("x", TOP, ca=False, names=[uri("https://td.example/a")]).pem, "NotASPIFFEID"),
        (
            by_hand("x", TOP, ca=False, names=[uri(PAYMENTS)], key_identifier=False).pem,
            "NotAnSVID",
        ),
    ],
)
def test_file_without_a_leaf_of_troth_is_rejected(pem: bytes, reason: str) -> None:
    with pytest.raises(PKIError) as refused:
        parse_leaf(pem)
    assert refused.value.reason == reason


@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
@given(st.integers(0, 10_000), st.integers(0, 255))
def test_damaged_file_is_read_or_rejected_with_a_pki_error(position: int, byte: int) -> None:
    pem = bytearray(GOOD)
    pem[position % len(pem)] = byte
    with suppress(PKIError):
        parse_leaf(bytes(pem))


def test_certificate_of_an_unknown_version_is_rejected() -> None:
    der = read_certificates(GOOD, "tls.crt")[0].public_bytes(Encoding.DER)
    version = b"\xa0\x03\x02\x01"
    body = b64encode(der.replace(version + b"\x02", version + b"\x06", 1))
    with pytest.raises(PKIError) as refused:
        parse_leaf(b"-----BEGIN CERTIFICATE-----\n" + body + b"\n-----END CERTIFICATE-----\n")
    assert refused.value.reason == "CertificateUnreadable"


def test_renewal_is_due_at_two_thirds_of_the_lifetime() -> None:
    assert renewal_due(parse_leaf(GOOD), 0.0) == NOW + DAY * 2 / 3


@given(st.floats(0, 1, exclude_max=True), st.floats(0, 1, exclude_max=True))
def test_spread_moves_renewal_earlier_down_to_three_fifths(one: float, other: float) -> None:
    read = parse_leaf(GOOD)
    assert NOW + DAY * 0.6 <= renewal_due(read, one) <= NOW + DAY * 2 / 3
    if one < other:
        assert renewal_due(read, one) >= renewal_due(read, other)


def test_shortest_leaf_is_renewed_before_it_expires() -> None:
    short_lived = issue(profile(lifetime=timedelta(seconds=1)), key(), own_root(), NOW)
    read = parse_leaf(short_lived)
    assert read.issued_at <= renewal_due(read, 0.5) < read.not_after


@given(st.text())
def test_spread_depends_only_on_the_uid(uid: str) -> None:
    assert 0 <= renewal_spread(uid) < 1
    assert renewal_spread(uid) == renewal_spread(uid)


def test_spreads_are_evenly_distributed() -> None:
    tenths = [int(renewal_spread(f"uid-{number}") * 10) for number in range(5000)]
    assert all(400 < tenths.count(tenth) < 600 for tenth in range(10))


def test_short_fingerprint_has_sixteen_digits() -> None:
    assert short("0123456789abcdef0123") == "0123456789abcdef"
