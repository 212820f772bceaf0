"""Reading of authorities: those that verifiers would reject are rejected with a message."""

from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.pki.builders import (
    DOMAIN,
    NOW,
    YEAR,
    Made,
    by_hand,
    excluding,
    given,
    key,
    own_root,
    permitting,
    uri,
)
from troth.pki.certificates.authorities import load_authority, load_signing_authority
from troth.pki.certificates.issuing import create_root
from troth.pki.encodings.pem import fingerprint
from troth.pki.errors import PKIError
from troth.pki.keys.private import private_key_pem
from troth.resources.algorithms import KeyAlgorithm

ROOT = by_hand("root")
UPPER = by_hand("upper", ROOT)
LOWER = by_hand("lower", UPPER)
RSA = KeyAlgorithm.RSA_2048
ANY_PURPOSE = ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE
BOTH = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]


def test_self_managed_root_is_its_own_anchor_and_is_not_served() -> None:
    signer = key(which="root")
    pem = create_root(DOMAIN, signer, YEAR, NOW)
    authority = load_authority(pem, private_key_pem(signer), None, DOMAIN)
    assert authority.certificates == ()
    assert authority.anchors == (pem,)
    assert authority.confined == (pem,)
    assert authority.not_after == NOW + YEAR
    # cert-manager's self-signed issuers repeat the root in ca.crt.
    assert load_authority(pem, private_key_pem(signer), pem, DOMAIN) == authority


def test_provided_intermediate_serves_its_chain_up_to_its_root() -> None:
    authority = load_authority(LOWER.pem + UPPER.pem, LOWER.key_pem, ROOT.pem, DOMAIN)
    assert authority.fingerprint == fingerprint(LOWER.certificate)
    assert authority.certificates == (LOWER.pem, UPPER.pem)
    assert authority.anchors == (ROOT.pem,)
    assert authority.confined == ()


@pytest.mark.parametrize("ca_crt", [None, b"", b"\n", ROOT.pem])
def test_root_at_the_end_of_the_chain_is_an_anchor_and_is_not_served(ca_crt: bytes | None) -> None:
    authority = load_authority(LOWER.pem + UPPER.pem + ROOT.pem, None, ca_crt, DOMAIN)
    assert authority.certificates == (LOWER.pem, UPPER.pem)
    assert authority.anchors == (ROOT.pem,)


def test_comments_in_provided_files_are_ignored() -> None:
    authority = load_authority(
        b"subject=lower\n" + LOWER.pem + b"subject=upper\n" + UPPER.pem,
        LOWER.key_pem,
        b"# our root\n" + ROOT.pem,
        DOMAIN,
    )
    assert authority == load_authority(LOWER.pem + UPPER.pem, None, ROOT.pem, DOMAIN)


def test_next_root_may_already_be_in_ca_crt() -> None:
    following = by_hand("following")
    authority = load_authority(UPPER.pem, UPPER.key_pem, following.pem + ROOT.pem, DOMAIN)
    assert authority.anchors == (following.pem, ROOT.pem)


def test_one_of_several_roots_may_issue_directly() -> None:
    other = by_hand("other")
    authority = load_authority(other.pem, other.key_pem, ROOT.pem + other.pem, DOMAIN)
    assert authority.fingerprint == fingerprint(other.certificate)
    assert authority.certificates == ()


def test_validity_is_that_of_the_whole_path() -> None:
    top = by_hand("root", lifetime=timedelta(days=10))
    authority = load_authority(by_hand("lower", top).pem, None, top.pem, DOMAIN)
    assert authority.not_after == NOW + timedelta(days=10)


def test_expired_authority_is_still_read() -> None:
    expired = by_hand("root", lifetime=timedelta(minutes=-1))
    assert load_authority(expired.pem, expired.key_pem, None, DOMAIN).not_after < NOW


def test_authority_is_constrained_only_if_every_anchor_is() -> None:
    confined = by_hand("confined", constraints=permitting(uri(DOMAIN)))
    free = by_hand("free")
    lower = by_hand("lower", confined)
    assert load_authority(lower.pem, None, confined.pem, DOMAIN).confined == (confined.pem,)
    both = load_authority(lower.pem, None, confined.pem + free.pem, DOMAIN)
    assert both.confined == ()


@pytest.mark.parametrize(
    "constraints",
    [
        permitting(uri(DOMAIN), uri("other.example")),
        permitting(uri(".shop.example")),
        permitting(x509.DNSName("shop.example")),
        excluding(uri("other.example")),
    ],
)
def test_wider_constraints_confine_to_no_single_domain(constraints: x509.NameConstraints) -> None:
    top = by_hand("root", constraints=constraints)
    assert load_authority(top.pem, None, None, DOMAIN).confined == ()


def test_constraints_of_an_intermediate_do_not_constrain_its_root() -> None:
    lower = by_hand("lower", ROOT, constraints=permitting(uri(DOMAIN)))
    assert load_authority(lower.pem, None, ROOT.pem, DOMAIN).confined == ()


@pytest.mark.parametrize(
    ("constraints", "allowed"),
    [
        (permitting(uri(DOMAIN)), True),
        (permitting(uri(DOMAIN.upper())), True),
        (permitting(uri(".shop.example")), True),
        (permitting(uri("shop.example")), False),
        (permitting(uri(f".{DOMAIN}")), False),
        (permitting(uri("other.example")), False),
        (permitting(x509.DNSName("other.example")), True),
        (excluding(uri(DOMAIN)), False),
        (excluding(uri(".shop.example")), False),
        (excluding(uri("shop.example")), True),
    ],
)
def test_constraints_must_allow_the_trust_domain(
    constraints: x509.NameConstraints, allowed: bool
) -> None:
    lower = by_hand("lower", ROOT, constraints=constraints)
    if allowed:
        assert load_authority(lower.pem, lower.key_pem, ROOT.pem, DOMAIN)
        return
    with pytest.raises(PKIError, match=DOMAIN) as refused:
        load_authority(lower.pem, lower.key_pem, ROOT.pem, DOMAIN)
    assert refused.value.reason == "NameConstraintsForbidTrustDomain"


CROSSED = by_hand("lower", UPPER, signer=key(which="stranger"))
NO_CA = by_hand("lower", ROOT, ca=False)
P521 = by_hand("lower", ROOT, own_key=ec.generate_private_key(ec.SECP521R1()))


@pytest.mark.parametrize(
    ("tls_crt", "tls_key", "ca_crt", "reason"),
    [
        (b"", b"", None, "CertificateMissing"),
        (b"junk", b"", None, "NotPEM"),
        (ROOT.pem[:-9], b"", None, "PEMUnreadable"),
        (ROOT.key_pem, ROOT.key_pem, None, "NotACertificate"),
        (LOWER.pem + UPPER.pem, LOWER.key_pem, None, "AnchorMissing"),
        (LOWER.pem + UPPER.pem, LOWER.key_pem, b"junk", "NotPEM"),
        (LOWER.pem, LOWER.key_pem, UPPER.pem, "AnchorNotSelfSigned"),
        (UPPER.pem, UPPER.key_pem, by_hand("other").pem, "AnchorMismatch"),
        (UPPER.pem + ROOT.pem, UPPER.key_pem, by_hand("other").pem, "AnchorMismatch"),
        (LOWER.pem, LOWER.key_pem, ROOT.pem, "AnchorMismatch"),
        (UPPER.pem, UPPER.key_pem, ROOT.pem + NO_CA.pem, "AnchorNotSelfSigned"),
        (
            UPPER.pem,
            UPPER.key_pem,
            ROOT.pem + by_hand("root", ca=False).pem,
            "NotAnAuthority",
        ),
        (UPPER.pem + LOWER.pem, UPPER.key_pem, ROOT.pem, "ChainOutOfOrder"),
        (LOWER.pem + LOWER.pem + UPPER.pem, LOWER.key_pem, ROOT.pem, "ChainOutOfOrder"),
        (CROSSED.pem + UPPER.pem, CROSSED.key_pem, ROOT.pem, "ChainSignatureInvalid"),
        (
            UPPER.pem,
            UPPER.key_pem,
            by_hand("root", own_key=key(which="stranger")).pem,
            "ChainSignatureInvalid",
        ),
        (NO_CA.pem, NO_CA.key_pem, ROOT.pem, "NotAnAuthority"),
        (by_hand("lower", ROOT, signs=False).pem, b"", ROOT.pem, "KeyUsageMissing"),
        (
            by_hand("lower", ROOT, key_identifier=False).pem,
            b"",
            ROOT.pem,
            "SubjectKeyIdentifierMissing",
        ),
        (
            by_hand("lower", ROOT, purposes=[ExtendedKeyUsageOID.SERVER_AUTH]).pem,
            b"",
            ROOT.pem,
            "ExtendedKeyUsageTooNarrow",
        ),
        (
            by_hand("lower", ROOT, purposes=[ANY_PURPOSE]).pem,
            b"",
            ROOT.pem,
            "ExtendedKeyUsageTooNarrow",
        ),
        (P521.pem, b"", ROOT.pem, "UnsupportedKey"),
        (LOWER.pem + UPPER.pem, UPPER.key_pem, ROOT.pem, "PrivateKeyMismatch"),
        (LOWER.pem + UPPER.pem, b"", ROOT.pem, "PrivateKeyMissing"),
        (LOWER.pem + UPPER.pem, b"junk", ROOT.pem, "PrivateKeyUnreadable"),
    ],
)
def test_authority_that_verifiers_would_reject_is_rejected_with_a_reason(
    tls_crt: bytes, tls_key: bytes, ca_crt: bytes | None, reason: str
) -> None:
    with pytest.raises(PKIError) as refused:
        load_authority(tls_crt, tls_key, ca_crt, DOMAIN)
    assert refused.value.reason == reason
    assert str(refused.value).endswith(".")


def test_chain_that_exceeds_the_path_length_is_rejected() -> None:
    top = by_hand("root", path_length=0)
    with pytest.raises(PKIError) as refused:
        given(by_hand("lower", top), top)
    assert refused.value.reason == "PathTooLong"


def test_path_length_that_allows_leaves_is_sufficient() -> None:
    top = by_hand("root", path_length=2)
    upper = by_hand("upper", top, path_length=1)
    lower = by_hand("lower", upper, path_length=0, purposes=BOTH)
    assert given(lower, top, upper).authority.certificates == (lower.pem, upper.pem)


def as_if_sha1(certificate: Made) -> bytes:
    """The PEM with the other hash in its two signature algorithms; the signature is then wrong,
    which nobody gets to see.
    """
    der = certificate.certificate.public_bytes(Encoding.DER)
    sha256, sha1 = (bytes.fromhex(f"2a864886f70d0101{last}") for last in ("0b", "05"))
    assert der.count(sha256) == 2
    return x509.load_der_x509_certificate(der.replace(sha256, sha1)).public_bytes(Encoding.PEM)


def test_sha1_is_rejected_below_the_anchor_and_accepted_in_the_anchor() -> None:
    top = by_hand("root", algorithm=RSA)
    lower = by_hand("lower", top, algorithm=RSA)
    with pytest.raises(PKIError) as refused:
        load_authority(as_if_sha1(lower), None, top.pem, DOMAIN)
    assert refused.value.reason == "WeakSignature"
    assert load_authority(lower.pem, None, as_if_sha1(top), DOMAIN).anchors == (as_if_sha1(top),)


def test_signing_authority_requires_the_key() -> None:
    pem = LOWER.pem + UPPER.pem
    assert load_authority(pem, None, ROOT.pem, DOMAIN)
    with pytest.raises(PKIError) as refused:
        load_signing_authority(pem, None, ROOT.pem, DOMAIN)
    assert refused.value.reason == "PrivateKeyMissing"


def test_repr_of_a_signing_authority_has_no_key() -> None:
    shown = repr(own_root())
    assert "rivate" not in shown
    assert "Key object" not in shown
