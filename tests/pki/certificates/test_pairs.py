"""The two certificates of a root: leaves are valid below either, and each store gets one."""

from datetime import timedelta

import pytest
from cryptography import x509

from tests.pki.builders import (
    DOMAIN,
    NOW,
    Made,
    by_hand,
    excluding,
    key,
    leaf,
    own_root,
    permitting,
    uri,
)
from troth.pki.certificates.authorities import Authority, load_authority
from troth.pki.certificates.constraints import NameConstraints, Subtrees
from troth.pki.certificates.leaf import leaf_of
from troth.pki.certificates.pairs import plain_certificate, root_id
from troth.pki.encodings.pem import read_certificates, write_certificates
from troth.pki.errors import PKIError
from troth.pki.keys.private import private_key_pem
from troth.resources.algorithms import KeyAlgorithm

SIGNER = own_root()
CONFINED = SIGNER.certificate
PLAIN = plain_certificate(CONFINED, SIGNER.private_key)


def read(pem: bytes) -> x509.Certificate:
    (found,) = read_certificates(pem, "a root")
    return found


def loaded(plain: bytes, ca_crt: bytes | None = None) -> Authority:
    pem = write_certificates([CONFINED])
    return load_authority(pem, private_key_pem(SIGNER.private_key), ca_crt, DOMAIN, plain)


@pytest.mark.parametrize("algorithm", KeyAlgorithm)
def test_plain_root_differs_in_constraints_and_serial_number_only(algorithm: KeyAlgorithm) -> None:
    signer = own_root(algorithm)
    plain, confined = (
        read(plain_certificate(signer.certificate, signer.private_key)),
        (signer.certificate),
    )
    assert plain.subject == plain.issuer == confined.subject
    assert plain.public_key() == confined.public_key()
    assert plain.serial_number != confined.serial_number
    assert plain.not_valid_before_utc == confined.not_valid_before_utc
    assert plain.not_valid_after_utc == confined.not_valid_after_utc
    assert root_id(plain) == root_id(confined)
    constraints = NameConstraints.of(plain)
    assert constraints.uri == constraints.dns == Subtrees()
    different = [
        one.oid
        for one, other in zip(plain.extensions, confined.extensions, strict=True)
        if one != other
    ]
    assert different == [x509.NameConstraints.oid]


def test_plain_root_issues_no_address() -> None:
    found = read(PLAIN).extensions.get_extension_for_class(x509.NameConstraints)
    assert found.critical
    assert found.value.permitted_subtrees is None
    assert [str(each.value) for each in found.value.excluded_subtrees or ()] == [
        "0.0.0.0/0",
        "::/0",
    ]


def test_own_verifiers_get_the_plain_root_and_others_the_confined_one() -> None:
    authority, without = loaded(PLAIN), loaded(b"")
    assert authority.anchors == (PLAIN,)
    assert authority.confined == without.confined == without.anchors
    assert authority.fingerprint == without.fingerprint


def test_leaf_of_before_is_the_roots_own() -> None:
    authority, old = loaded(PLAIN), leaf_of(read_certificates(leaf(SIGNER), "a leaf"))
    assert authority.signed(old)
    assert authority.issued(old)


WRONG = {
    "nothing": b"nothing",
    "the confined one": write_certificates([CONFINED]),
    "two": PLAIN + PLAIN,
    "of another root": plain_certificate(
        own_root(which="another").certificate, key(which="another")
    ),
    "of another key": by_hand("x", signer=SIGNER.private_key).pem,
    "of another time": plain_certificate(
        own_root(now=NOW - timedelta(days=1)).certificate, SIGNER.private_key
    ),
    "signed by another key": plain_certificate(CONFINED, key(which="another")),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_anything_else_in_place_of_a_plain_root_is_ignored(wrong: str) -> None:
    assert loaded(WRONG[wrong]) == loaded(b"")


def test_plain_root_beside_given_anchors_is_ignored() -> None:
    anchors = write_certificates([CONFINED])
    assert loaded(PLAIN, anchors) == loaded(b"", anchors)


def test_plain_root_of_an_unconfined_one_is_ignored() -> None:
    free = by_hand("free")
    plain = plain_certificate(free.certificate, free.key)
    assert load_authority(free.pem, None, None, DOMAIN, plain).anchors == (free.pem,)


def given(*constraints: x509.NameConstraints | None) -> tuple[Made, ...]:
    return tuple(by_hand("root", constraints=each) for each in constraints)


def test_given_root_with_two_meanings_is_refused() -> None:
    free, confined = given(None, permitting(uri(DOMAIN)))
    lower = by_hand("lower", free)
    with pytest.raises(PKIError, match="two certificates of one root") as refused:
        load_authority(lower.pem, None, free.pem + confined.pem, DOMAIN)
    assert refused.value.reason == "AnchorsContradict"


@pytest.mark.parametrize(
    "constraints", [None, permitting(uri(DOMAIN)), excluding(uri("other.example"))]
)
def test_given_root_may_be_renewed_with_the_same_constraints(
    constraints: x509.NameConstraints | None,
) -> None:
    first, second = given(constraints, constraints)
    lower = by_hand("lower", first)
    authority = load_authority(lower.pem, None, first.pem + second.pem, DOMAIN)
    assert authority.anchors == (first.pem, second.pem)
