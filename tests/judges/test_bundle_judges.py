"""Bundles: go-spiffe and Nimbus read those of Troth, and Troth reads those of go-spiffe."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from tests.judges.token_judges import go_program
from tests.judges.token_world import PARTNER, bundles, kid, roots, transaction_token
from tests.judges.token_world import PAYMENTS as AUDIENCE
from tests.pki.builders import DOMAIN
from troth.pki.bundles.spiffe_bundle import parse_spiffe_bundle
from troth.pki.encodings.pem import fingerprint, read_certificates


def judge_bundles(do: str, trust_domain: str, published: Mapping[str, Any]) -> dict[str, Any]:
    question = {"do": do, "trustDomain": trust_domain, "bundles": published}
    (answer,) = go_program().ask([question])
    return answer


def test_go_spiffe_finds_every_authority_and_every_key_in_a_bundle() -> None:
    answer = judge_bundles("bundle", DOMAIN, bundles())
    assert answer["ok"], answer["says"]
    assert sorted(answer["x509"]) == sorted(
        fingerprint(read_certificates(root, "a root")[0]) for root in roots()
    )
    assert answer["jwt"] == sorted([kid("current"), kid("next")])


@pytest.mark.parametrize("trust_domain", [DOMAIN, PARTNER])
def test_bundle_that_go_spiffe_rewrites_is_the_same_to_troth(trust_domain: str) -> None:
    published = bundles()
    written = judge_bundles("bundle", trust_domain, published)["bundle"]
    theirs, ours = (
        parse_spiffe_bundle(json.dumps(document), trust_domain)
        for document in (written, published[trust_domain])
    )
    assert set(theirs.x509_authorities) == set(ours.x509_authorities)
    assert theirs.jwt_keys == ours.jwt_keys


def test_go_spiffe_reads_the_issuers_key_set() -> None:
    keys = [key for key in bundles()[DOMAIN]["keys"] if key["use"] == "jwt-svid"]
    answer = judge_bundles("jwks", DOMAIN, {DOMAIN: {"keys": keys}})
    assert answer["jwt"] == sorted([kid("current"), kid("next")])


def test_go_spiffes_key_set_reader_rejects_a_bundle_with_authorities() -> None:
    """Its users need the issuer's key set, or go-spiffe's reader of whole bundles."""
    answer = judge_bundles("jwks", DOMAIN, bundles())
    assert not answer["ok"]
    assert "keyID cannot be empty" in answer["says"]


def test_go_spiffe_rejects_a_transaction_token_as_an_access_token() -> None:
    question = {
        "do": "jwt-svid",
        "token": transaction_token(),
        "audience": AUDIENCE,
        "bundles": bundles(),
    }
    (answer,) = go_program().ask([question])
    assert not answer["ok"]
    assert "type" in answer["says"]
