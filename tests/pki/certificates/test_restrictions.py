"""A chain that no TLS library has verified: each restriction in it is enforced."""

from ipaddress import IPv4Address, IPv4Network

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from tests.pki.builders import (
    DOMAIN,
    PAYMENTS,
    Made,
    by_hand,
    excluding,
    key,
    leaf,
    own_root,
    permitting,
    uri,
)
from troth.pki.certificates import restrictions
from troth.pki.encodings.pem import read_certificates
from troth.pki.errors import PKIError

ADDRESS = x509.IPAddress(IPv4Address("192.0.2.1"))
NETWORKS = x509.IPAddress(IPv4Network("0.0.0.0/0"))


def path(*names: x509.GeneralName, upper: Made, signs: bool = False) -> list[x509.Certificate]:
    """A leaf of payments with further names, and its issuer."""
    lower = by_hand("leaf", upper, ca=False, signs=signs, names=[uri(PAYMENTS), *names])
    return [lower.certificate, upper.certificate]


def constrained(constraints: x509.NameConstraints | None) -> Made:
    return by_hand("upper", constraints=constraints)


def reason(certificates: list[x509.Certificate]) -> str | None:
    try:
        restrictions.check(certificates)
    except PKIError as error:
        return error.reason
    return None


def test_leaf_of_a_managed_root_passes() -> None:
    authority = own_root()
    certificates = read_certificates(leaf(authority, "payments.shop.svc"), "the leaf")
    assert reason([*certificates, authority.certificate]) is None


@pytest.mark.parametrize(
    ("constraints", "names"),
    [
        (permitting(uri("other.example")), []),
        (permitting(uri(f".{DOMAIN}")), []),
        (excluding(uri(DOMAIN)), []),
        (permitting(x509.DNSName("other.example")), [x509.DNSName("payments.shop.svc")]),
        (excluding(x509.DNSName("svc")), [x509.DNSName("payments.shop.svc")]),
        (excluding(NETWORKS), [ADDRESS]),
        (permitting(NETWORKS), [ADDRESS]),
        (permitting(x509.DirectoryName(x509.Name([]))), []),
    ],
    ids=str,
)
def test_name_that_an_authority_may_not_certify_is_rejected(
    constraints: x509.NameConstraints, names: list[x509.GeneralName]
) -> None:
    assert reason(path(*names, upper=constrained(constraints))) == "NameNotPermitted"


@pytest.mark.parametrize(
    ("constraints", "names"),
    [
        (None, [ADDRESS]),
        (permitting(uri(DOMAIN)), [x509.DNSName("payments.shop.svc"), ADDRESS]),
        (permitting(uri(DOMAIN), x509.DNSName("shop.svc")), [x509.DNSName("payments.shop.svc")]),
        (excluding(NETWORKS), []),
    ],
    ids=str,
)
def test_name_that_an_authority_may_certify_passes(
    constraints: x509.NameConstraints | None, names: list[x509.GeneralName]
) -> None:
    assert reason(path(*names, upper=constrained(constraints))) is None


@pytest.mark.parametrize("name", ["spiffe://[", "http://[::1", "http://[x]/"])
def test_uri_whose_host_cannot_be_read_is_rejected(name: str) -> None:
    upper = constrained(permitting(uri(DOMAIN)))
    assert reason(path(uri(name), upper=upper)) == "NameUnreadable"


def test_constraints_apply_below_an_intermediate() -> None:
    root = by_hand("root", constraints=permitting(uri("other.example")))
    middle = by_hand("middle", root)
    assert reason([*path(upper=middle), root.certificate]) == "NameNotPermitted"


def test_leaf_that_may_sign_certificates_is_rejected() -> None:
    assert reason(path(upper=by_hand("upper"), signs=True)) == "NotALeaf"


def test_unknown_critical_extension_is_rejected() -> None:
    upper = by_hand("upper")
    unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\x05\x00")

    def issued(*, critical: bool) -> list[x509.Certificate]:
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "leaf")])
        before = upper.certificate.not_valid_before_utc
        builder = (
            x509.CertificateBuilder(upper.certificate.subject, name, key().public_key())
            .serial_number(1)
            .not_valid_before(before)
            .not_valid_after(upper.certificate.not_valid_after_utc)
            .add_extension(x509.SubjectAlternativeName([uri(PAYMENTS)]), critical=False)
            .add_extension(unknown, critical=critical)
        )
        signer = upper.certificate.signature_hash_algorithm
        return [builder.sign(upper.key, signer), upper.certificate]  # type: ignore[arg-type]

    assert reason(issued(critical=True)) == "CriticalExtensionUnknown"
    assert reason(issued(critical=False)) is None
