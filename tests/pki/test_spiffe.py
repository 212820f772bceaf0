"""Strict SPIFFE IDs: each identity has one spelling (SPIFFE-ID, section 2)."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from troth.pki.errors import PKIError, SPIFFEIDError
from troth.pki.spiffe import SPIFFEID, check_trust_domain, spiffe_id

TRUST_DOMAINS = st.from_regex(r"\A[a-z0-9._-]{1,255}\Z")
LABELS = st.from_regex(r"\A[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\Z")


def test_spiffe_id_has_namespace_and_service_account() -> None:
    assert (
        spiffe_id("prod.shop.example", "shop", "payments")
        == "spiffe://prod.shop.example/ns/shop/sa/payments"
    )


@given(TRUST_DOMAINS, LABELS, LABELS)
def test_spiffe_id_survives_a_round_trip(domain: str, namespace: str, account: str) -> None:
    made = spiffe_id(domain, namespace, account)
    read = SPIFFEID.parse(made)
    assert (read.trust_domain, read.path) == (domain, f"/ns/{namespace}/sa/{account}")
    assert str(read) == made


@given(st.text(max_size=80) | st.text(max_size=40).map("spiffe://td/".__add__))
def test_parsing_never_normalises(text: str) -> None:
    with suppress(SPIFFEIDError):
        assert str(SPIFFEID.parse(text)) == text


def test_trust_domain_has_an_empty_path() -> None:
    assert SPIFFEID.parse("spiffe://td.example") == SPIFFEID("td.example", "")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "NotASPIFFEID"),
        ("https://td.example/a", "NotASPIFFEID"),
        ("SPIFFE://td.example/a", "NotASPIFFEID"),
        ("spiffe:/td.example/a", "NotASPIFFEID"),
        ("spiffe:///a", "InvalidTrustDomain"),
        ("spiffe://TD.example/a", "InvalidTrustDomain"),
        ("spiffe://td.example:443/a", "InvalidTrustDomain"),
        ("spiffe://user@td.example/a", "InvalidTrustDomain"),
        ("spiffe://td.example?x=1", "InvalidTrustDomain"),
        ("spiffe://td.example#x", "InvalidTrustDomain"),
        ("spiffe://tä.example/a", "InvalidTrustDomain"),
        (f"spiffe://{'a' * 256}/a", "TrustDomainTooLong"),
        ("spiffe://td.example/", "InvalidPath"),
        ("spiffe://td.example/a/", "InvalidPath"),
        ("spiffe://td.example//a", "InvalidPath"),
        ("spiffe://td.example/./a", "InvalidPath"),
        ("spiffe://td.example/a/..", "InvalidPath"),
        ("spiffe://td.example/a?x=1", "InvalidPath"),
        ("spiffe://td.example/a#x", "InvalidPath"),
        ("spiffe://td.example/%61", "InvalidPath"),
        ("spiffe://td.example/a b", "InvalidPath"),
        ("spiffe://td.example/a\n", "InvalidPath"),
        ("spiffe://td.example/ä", "InvalidPath"),
        (f"spiffe://td.example/{'a' * 2030}", "SPIFFEIDTooLong"),
    ],
)
def test_id_outside_the_specification_is_rejected(text: str, reason: str) -> None:
    with pytest.raises(SPIFFEIDError) as refused:
        SPIFFEID.parse(text)
    assert refused.value.reason == reason


def test_id_has_at_most_2048_bytes() -> None:
    longest = "spiffe://td.example/" + "a" * 2028
    assert len(longest) == 2048
    assert str(SPIFFEID.parse(longest)) == longest


@pytest.mark.parametrize("name", ["", "Prod", "a b", "a/b", "a:1", "spiffe://a", "a\n", "é"])
def test_invalid_trust_domain_name_is_rejected(name: str) -> None:
    with pytest.raises(SPIFFEIDError):
        check_trust_domain(name)


@pytest.mark.parametrize(
    ("namespace", "account", "reason"),
    [
        ("shop/sa/admin", "payments", "InvalidNamespace"),
        ("", "payments", "InvalidNamespace"),
        ("a.b", "payments", "InvalidNamespace"),
        ("shop", "payments/..", "InvalidServiceAccount"),
        ("shop", "..", "InvalidServiceAccount"),
        ("shop", "a..b", "InvalidServiceAccount"),
        ("shop", "", "InvalidServiceAccount"),
    ],
)
def test_part_that_would_be_two_path_segments_is_rejected(
    namespace: str, account: str, reason: str
) -> None:
    with pytest.raises(SPIFFEIDError) as refused:
        spiffe_id("td.example", namespace, account)
    assert refused.value.reason == reason


def test_every_error_is_a_value_error_with_reason_and_message() -> None:
    error = PKIError("Because", "Mend it.")
    assert isinstance(error, ValueError)
    assert (error.reason, str(error)) == ("Because", "Mend it.")
