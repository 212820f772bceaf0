"""Roots and leaves follow the X509-SVID specification."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TypeVar

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.hashes import SHA256, SHA384
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given
from hypothesis import strategies as st

from tests.pki import builders
from tests.pki.builders import (
    DAY,
    DOMAIN,
    NOW,
    PAYMENTS,
    YEAR,
    by_hand,
    excluding,
    key,
    leaf,
    own_root,
    permitting,
    profile,
    uri,
)
from troth.pki.certificates.authorities import load_authority
from troth.pki.certificates.issuing import LeafProfile, create_root, issue
from troth.pki.certificates.leaf import BACKDATE
from troth.pki.certificates.subjects import Subject
from troth.pki.encodings.pem import read_certificates
from troth.pki.errors import IssuingError, SPIFFEIDError
from troth.resources.algorithms import KeyAlgorithm

Extension = TypeVar("Extension", bound=x509.ExtensionType)

ALGORITHMS = pytest.mark.parametrize("algorithm", KeyAlgorithm)
USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
)


def certificate(pem: bytes) -> x509.Certificate:
    return read_certificates(pem, "the test")[0]


def root(domain: str = DOMAIN, algorithm: KeyAlgorithm = builders.P256) -> x509.Certificate:
    return certificate(create_root(domain, key(algorithm, "root"), YEAR, NOW))


def usages(of: x509.Certificate) -> set[str]:
    usage = of.extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical
    return {name for name in USAGES if getattr(usage.value, name)}


def value(of: x509.Certificate, kind: type[Extension]) -> Extension:
    return of.extensions.get_extension_for_class(kind).value


# Roots.


@ALGORITHMS
def test_root_may_sign_only_certificates_and_crls(algorithm: KeyAlgorithm) -> None:
    made = root(algorithm=algorithm)
    basic = made.extensions.get_extension_for_class(x509.BasicConstraints)
    assert basic.critical
    assert basic.value == x509.BasicConstraints(ca=True, path_length=0)
    assert usages(made) == {"key_cert_sign", "crl_sign"}
    made.verify_directly_issued_by(made)


def test_root_names_its_trust_domain_without_a_path() -> None:
    names = value(root(), x509.SubjectAlternativeName)
    assert list(names) == [uri(f"spiffe://{DOMAIN}")]


def test_root_is_constrained_to_its_trust_domain_without_addresses() -> None:
    constraints = root().extensions.get_extension_for_class(x509.NameConstraints)
    assert constraints.critical
    assert constraints.value.permitted_subtrees == [uri(DOMAIN)]
    assert [str(each.value) for each in constraints.value.excluded_subtrees or ()] == [
        "0.0.0.0/0",
        "::/0",
    ]


def test_root_is_unconstrained_only_on_request() -> None:
    pem = create_root(DOMAIN, key(), YEAR, NOW, constrained=False)
    assert load_authority(pem, None, None, DOMAIN).confined == ()


def test_roots_of_one_domain_have_different_names_even_with_one_key() -> None:
    assert root().subject != root().subject


@pytest.mark.parametrize("length", [1, 44, 45, 255])
def test_common_name_of_a_root_is_bounded(length: int) -> None:
    name = root("a" * length).subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
    assert 1 <= len(name) <= 64


def test_root_is_backdated_and_expires_on_time() -> None:
    made = root()
    assert made.not_valid_before_utc == NOW - BACKDATE
    assert made.not_valid_after_utc == NOW + YEAR


def test_root_has_the_identifier_of_its_key() -> None:
    made = root()
    own = value(made, x509.SubjectKeyIdentifier).digest
    assert value(made, x509.AuthorityKeyIdentifier).key_identifier == own


def test_root_of_an_invalid_trust_domain_is_rejected() -> None:
    with pytest.raises(SPIFFEIDError):
        root("Not A Domain")


# Leaves.


@ALGORITHMS
def test_leaf_is_no_ca_and_may_not_sign_certificates(algorithm: KeyAlgorithm) -> None:
    made = certificate(leaf(own_root(), algorithm=algorithm))
    assert not value(made, x509.BasicConstraints).ca
    wanted = {"digital_signature"}
    if isinstance(key(algorithm), rsa.RSAPrivateKey):
        wanted.add("key_encipherment")
    assert usages(made) == wanted


def test_leaf_has_one_uri_and_its_dns_names_once_in_order() -> None:
    made = certificate(leaf(own_root(), "b.svc", "a.svc", "b.svc", "*.c.svc"))
    names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert list(names.value) == [
        uri(PAYMENTS),
        x509.DNSName("b.svc"),
        x509.DNSName("a.svc"),
        x509.DNSName("*.c.svc"),
    ]


def with_subject(name: str, namespace: str = "shop") -> LeafProfile:
    return replace(profile(), subject=Subject(name, namespace))


@given(
    name=st.from_regex(r"[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?", fullmatch=True),
    namespace=st.from_regex(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", fullmatch=True),
)
def test_subject_of_an_identitys_leaf_has_name_and_namespace(name: str, namespace: str) -> None:
    wanted = with_subject(name, namespace)
    made = certificate(issue(wanted, key(), own_root(), NOW))
    assert made.subject.rfc4514_string() == str(wanted.subject)
    assert not made.extensions.get_extension_for_class(x509.SubjectAlternativeName).critical


def test_leaf_has_no_common_name() -> None:
    made = certificate(issue(with_subject("payments.shop.svc"), key(), own_root(), NOW))
    assert not made.subject.get_attributes_for_oid(NameOID.COMMON_NAME)


def test_leaf_without_a_subject_has_a_critical_san() -> None:
    made = certificate(leaf(own_root()))
    assert not list(made.subject)
    assert made.extensions.get_extension_for_class(x509.SubjectAlternativeName).critical


@pytest.mark.parametrize("part", ["", "a" * 64, "Payments", "a,OU=b", "a+CN=b", "a\n", "a/b", "é"])
def test_ambiguous_subject_is_rejected(part: str) -> None:
    for wanted in (with_subject(part), with_subject("payments", part)):
        with pytest.raises(IssuingError) as refused:
            issue(wanted, key(), own_root(), NOW)
        assert refused.value.reason == "InvalidSubject"


@pytest.mark.parametrize("constraining", [permitting, excluding])
def test_subject_that_the_authority_may_not_certify_is_rejected(
    constraining: Callable[..., x509.NameConstraints],
) -> None:
    organization = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Corp")])
    top = by_hand("root")
    lower = by_hand("lower", top, constraints=constraining(x509.DirectoryName(organization)))
    authority = builders.given(lower, top)
    assert issue(profile(), key(), authority, NOW)
    with pytest.raises(IssuingError) as refused:
        issue(with_subject("payments"), key(), authority, NOW)
    assert refused.value.reason == "NameConstraintsForbidSubject"


def test_leaf_is_for_clients_and_servers() -> None:
    assert set(value(certificate(leaf(own_root())), x509.ExtendedKeyUsage)) == {
        ExtendedKeyUsageOID.SERVER_AUTH,
        ExtendedKeyUsageOID.CLIENT_AUTH,
    }


def test_leaf_has_the_identifiers_of_its_key_and_its_issuers_key() -> None:
    authority = own_root()
    made = certificate(leaf(authority))
    assert value(made, x509.SubjectKeyIdentifier) == x509.SubjectKeyIdentifier.from_public_key(
        key().public_key()
    )
    issuer = value(made, x509.AuthorityKeyIdentifier).key_identifier
    assert issuer is not None
    assert issuer.hex() == authority.authority.subject_key_id


@pytest.mark.parametrize(
    ("signer", "digest"),
    [
        (KeyAlgorithm.ECDSA_P256, SHA256),
        (KeyAlgorithm.RSA_2048, SHA256),
        (KeyAlgorithm.ECDSA_P384, SHA384),
        (KeyAlgorithm.ED25519, type(None)),
    ],
)
def test_signing_key_determines_the_hash(signer: KeyAlgorithm, digest: type) -> None:
    made = certificate(leaf(own_root(signer)))
    assert isinstance(made.signature_hash_algorithm, digest)


def test_serial_numbers_are_random_and_fit_twenty_bytes() -> None:
    authority = own_root()
    serials = {certificate(leaf(authority)).serial_number for _ in range(50)}
    assert len(serials) == 50
    assert all(0 < serial < 1 << 159 for serial in serials)
    # 50 numbers of 159 bits without one in the upper half would be no accident.
    assert max(serials) > 1 << 150


@given(
    lifetime=st.timedeltas(timedelta(seconds=1), timedelta(days=4000)),
    moment=st.timedeltas(timedelta(0), YEAR - timedelta(seconds=1)),
)
def test_leaf_is_never_valid_outside_its_authoritys_validity(
    lifetime: timedelta, moment: timedelta
) -> None:
    authority, now = own_root(), NOW + moment
    made = certificate(issue(profile(lifetime=lifetime), key(), authority, now))
    assert authority.authority.not_before <= made.not_valid_before_utc <= now
    assert now - made.not_valid_before_utc < BACKDATE + timedelta(seconds=1)
    assert made.not_valid_after_utc <= authority.authority.not_after
    assert made.not_valid_after_utc <= now + lifetime


def test_leaf_does_not_begin_before_its_authority() -> None:
    made_then = NOW - BACKDATE + timedelta(seconds=1)
    made = certificate(issue(profile(), key(), own_root(), made_then))
    assert made.not_valid_before_utc == NOW - BACKDATE


@pytest.mark.parametrize(
    ("now", "reason"),
    [
        (NOW + YEAR, "AuthorityExpired"),
        (NOW + 2 * YEAR, "AuthorityExpired"),
        (NOW - BACKDATE - timedelta(seconds=1), "AuthorityNotYetValid"),
    ],
)
def test_authority_issues_only_while_it_is_valid(now: datetime, reason: str) -> None:
    with pytest.raises(IssuingError) as refused:
        issue(profile(), key(), own_root(), now)
    assert refused.value.reason == reason


@pytest.mark.parametrize("lifetime", [timedelta(0), -DAY, timedelta(milliseconds=999)])
def test_lifetime_below_one_second_is_rejected(lifetime: timedelta) -> None:
    with pytest.raises(IssuingError) as refused:
        issue(profile(lifetime=lifetime), key(), own_root(), NOW)
    assert refused.value.reason == "InvalidLifetime"
    with pytest.raises(IssuingError):
        create_root(DOMAIN, key(), lifetime, NOW)


def test_naive_time_raises_a_type_error() -> None:
    with pytest.raises(TypeError):
        issue(profile(), key(), own_root(), NOW.replace(tzinfo=None))


@pytest.mark.parametrize(
    ("spiffe_id", "reason"),
    [
        (f"spiffe://{DOMAIN}", "SPIFFEIDWithoutPath"),
        ("spiffe://other.example/ns/a/sa/b", "ForeignTrustDomain"),
    ],
)
def test_leaf_is_issued_only_to_workloads_of_the_own_domain(spiffe_id: str, reason: str) -> None:
    with pytest.raises(IssuingError) as refused:
        issue(profile(spiffe_id=spiffe_id), key(), own_root(), NOW)
    assert refused.value.reason == reason


@pytest.mark.parametrize(
    "name",
    [
        "",
        "a b",
        "UPPER.example",
        "a..b",
        ".a",
        "-a",
        "a" * 64,
        "é.example",
        "10.0.0.1\n",
        "a.*.b",
        "*",
        "x." * 127 + "x",
    ],
)
def test_invalid_dns_name_is_rejected(name: str) -> None:
    with pytest.raises(IssuingError) as refused:
        issue(profile(name), key(), own_root(), NOW)
    assert refused.value.reason == "InvalidDNSName"


@pytest.mark.parametrize(
    ("constraints", "name", "allowed"),
    [
        (permitting(x509.DNSName("corp.example")), "corp.example", True),
        (permitting(x509.DNSName("corp.example")), "pay.corp.example", True),
        (permitting(x509.DNSName("corp.example")), "*.corp.example", True),
        (permitting(x509.DNSName("corp.example")), "notcorp.example", False),
        (permitting(x509.DNSName("corp.example")), "payments.shop.svc", False),
        (permitting(x509.DNSName(".corp.example")), "corp.example", False),
        (excluding(x509.DNSName("corp.example")), "pay.corp.example", False),
        (excluding(x509.DNSName("pay.corp.example")), "*.corp.example", False),
        (excluding(x509.DNSName("corp.example")), "payments.shop.svc", True),
    ],
)
def test_dns_name_that_the_authority_may_not_certify_is_rejected(
    constraints: x509.NameConstraints, name: str, allowed: bool
) -> None:
    top = by_hand("root")
    authority = builders.given(by_hand("intermediate", top, constraints=constraints), top)
    if allowed:
        assert issue(profile(name), key(), authority, NOW)
        return
    with pytest.raises(IssuingError) as refused:
        issue(profile(name), key(), authority, NOW)
    assert refused.value.reason == "NameConstraintsForbidDNSName"


def test_leaf_of_an_intermediate_is_served_with_its_chain_without_the_root() -> None:
    top = by_hand("root")
    upper = by_hand("upper", top)
    lower = by_hand("lower", upper)
    _, *chain = read_certificates(leaf(builders.given(lower, top, upper)), "tls.crt")
    assert chain == [lower.certificate, upper.certificate]


def test_leaf_of_a_root_is_served_alone() -> None:
    assert len(read_certificates(leaf(own_root()), "tls.crt")) == 1
