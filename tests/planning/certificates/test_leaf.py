"""Checks of a leaf: each alone causes a new leaf, with its own reason; a valid leaf is kept."""

import copy
from dataclasses import replace
from datetime import timedelta
from functools import cache
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from tests import builders
from tests.builders import DAY, HOUR, NOW, Cluster, Manifest, identity, key_of, service, shop
from tests.pki import builders as pki
from troth.pki.certificates.issuing import LeafProfile
from troth.pki.certificates.leaf import Leaf, renewal_due, renewal_spread
from troth.pki.certificates.subjects import Subject
from troth.planning.certificates.leaf import CHECKS, LeafCandidate, why_issue
from troth.planning.steps.certificates import IssueLeaf
from troth.resources.algorithms import KeyAlgorithm
from troth.resources.references import Ref
from troth.world.facts.objects import Fault, IdentitySecret

SECRET = "Secret", Ref("shop", "payments-identity")


@cache
def good() -> LeafCandidate:
    """Return an input for which nothing needs to be done."""
    cluster = shop(identity()).settle()
    secret = cluster.world.secrets[SECRET[1]]
    authority = cluster.world.authorities.of(cluster.world.registry.domains["production"])
    assert secret.leaf is not None
    assert authority is not None
    assert authority.authority is not None
    return LeafCandidate(
        secret=secret,
        authority=authority.authority,
        signed=True,
        profile=LeafProfile(
            secret.leaf.spiffe_id, (), lifetime=DAY, subject=Subject("payments", "shop")
        ),
        algorithm=KeyAlgorithm.ECDSA_P256,
        keystore=False,
        uid=cluster.world.registry.identities[Ref("shop", "payments")].metadata.uid,
        now=NOW,
    )


def good_secret() -> IdentitySecret:
    secret = good().secret
    assert secret is not None
    return secret


def good_leaf() -> Leaf:
    leaf = good_secret().leaf
    assert leaf is not None
    return leaf


def test_valid_leaf_is_kept() -> None:
    assert [check(good()) for check in CHECKS] == [None] * len(CHECKS)


def other_authority() -> Any:
    cluster = Cluster.of(builders.domain(), builders.authority_secret(which="second"))
    known = cluster.world.authorities.of(cluster.world.registry.domains["production"])
    assert known is not None
    return known.authority


ODD: dict[str, dict[str, Any]] = {
    "SecretMissing": {"secret": None},
    "NamesChanged": {"dns_names": ("pay.shop.example",)},
    "SubjectChanged": {"subject": Subject("payments", "other")},
    "AlgorithmChanged": {"algorithm": KeyAlgorithm.ED25519},
    "AuthorityChanged": {"authority": other_authority},
    "SignatureInvalid": {"signed": False},
    "LifetimeShortened": {"lifetime": HOUR},
    "RenewalDue": {"now": NOW + 20 * HOUR},
    "KeystoreStale": {"keystore": True},
}
OF_PROFILE = {"dns_names", "subject", "lifetime"}


@pytest.mark.parametrize("reason", ODD)
def test_each_check_alone_causes_a_new_leaf(reason: str) -> None:
    changed = dict(ODD[reason])
    if reason == "AuthorityChanged":
        changed["authority"] = other_authority()
    of_profile = {each: changed.pop(each) for each in OF_PROFILE & changed.keys()}
    question = replace(good(), profile=replace(good().profile, **of_profile), **changed)
    fault = why_issue(question)
    assert fault is not None
    assert fault.reason == reason
    if reason != "SecretMissing":
        assert [found.reason for check in CHECKS if (found := check(question))] == [reason]


def test_broken_material_causes_a_new_leaf_and_is_named() -> None:
    secret = replace(good_secret(), leaf=None, fault=Fault("PrivateKeyMismatch", "not its key"))
    fault = why_issue(replace(good(), secret=secret))
    assert fault is not None
    assert fault.reason == "PrivateKeyMismatch"


# Renewal


@given(st.uuids().map(str))
def test_leaf_is_renewed_at_two_thirds_of_its_life_or_slightly_earlier(uid: str) -> None:
    leaf = good_leaf()
    due = renewal_due(leaf, renewal_spread(uid))
    assert NOW + 0.6 * DAY <= due <= NOW + DAY * 2 / 3 + timedelta(seconds=1)
    assert why_issue(replace(good(), uid=uid, now=due - timedelta(seconds=1))) is None
    assert why_issue(replace(good(), uid=uid, now=due)) is not None


def test_leaves_issued_in_one_minute_are_not_renewed_in_one_minute() -> None:
    leaf = good_leaf()
    moments = sorted(renewal_due(leaf, renewal_spread(str(number))) for number in range(500))
    assert moments[-1] - moments[0] > 1.4 * HOUR
    for start in moments:
        crowd = sum(start <= moment < start + timedelta(minutes=5) for moment in moments)
        assert crowd < 60


def test_plan_is_due_when_the_leaf_is_due() -> None:
    cluster = shop(identity()).settle()
    due = cluster.plan(key_of()).due
    assert due is not None
    cluster.now = due
    (step,) = [each for each in cluster.plan(key_of()).steps if isinstance(each, IssueLeaf)]
    assert step.reason == "RenewalDue"


def test_renewed_leaf_has_a_new_key() -> None:
    cluster = shop(identity()).settle()
    before = copy.deepcopy(cluster.objects[SECRET]["data"])
    due = cluster.plan(key_of()).due
    assert due is not None
    cluster.now = due
    after = cluster.settle().objects[SECRET]["data"]
    assert before["tls.key"] != after["tls.key"]
    assert before["ca.crt"] == after["ca.crt"]


def test_leaf_that_expires_with_its_authority_is_not_renewed_repeatedly() -> None:
    cluster = shop(identity()).settle()
    authority = good().authority
    cluster.now = authority.not_after - HOUR
    cluster.settle()
    issued = cluster.objects[SECRET]["metadata"]["resourceVersion"]
    for minutes in (10, 30, 59):
        cluster.now = authority.not_after - timedelta(minutes=60 - minutes)
        cluster.settle()
    assert cluster.objects[SECRET]["metadata"]["resourceVersion"] == issued


# Plans


def reasons(cluster: Cluster) -> list[str]:
    return [step.reason for step in cluster.plan(key_of()).steps if isinstance(step, IssueLeaf)]


@pytest.mark.parametrize(
    ("manifest", "reason"),
    [
        (service("pay", app="payments"), "NamesChanged"),
        (identity(authentication={"mtls": {"keyAlgorithm": "ECDSA-P384"}}), "AlgorithmChanged"),
        (identity(authentication={"mtls": {"lifetime": "1h"}}), "LifetimeShortened"),
        (identity(authentication={"mtls": {"keystores": ["PKCS12"]}}), "KeystoreStale"),
        (identity(account="other"), "NamesChanged"),
        (builders.authority_secret(which="second"), "AuthorityChanged"),
    ],
    ids=["service", "algorithm", "lifetime", "keystore", "account", "authority"],
)
def test_change_of_leaf_content_causes_one_new_leaf(manifest: Manifest, reason: str) -> None:
    cluster = shop(identity()).settle()
    assert reasons(cluster) == []
    cluster.put(manifest)
    assert reasons(cluster) == [reason]
    cluster.settle()
    assert reasons(cluster) == []


def subject(cluster: Cluster) -> str:
    leaf = cluster.world.secrets[SECRET[1]].leaf
    assert leaf is not None
    return leaf.subject


def test_leaf_without_its_subject_is_reissued_once() -> None:
    cluster = shop(identity())
    (step,) = [each for each in cluster.plan(key_of()).steps if isinstance(each, IssueLeaf)]
    cluster.carry_out(replace(step, profile=replace(step.profile, subject=None)))
    assert subject(cluster) == ""
    assert reasons(cluster) == ["SubjectChanged"]
    assert subject(cluster.settle()) == "UID=payments,OU=shop"
    assert reasons(cluster) == []


def test_subject_that_no_verifier_accepts_is_omitted() -> None:
    organization = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Corp")])
    root = pki.by_hand("root")
    below = pki.permitting(x509.DirectoryName(organization))
    corporate = pki.by_hand("corporate", root, constraints=below)
    cluster = Cluster.of(
        builders.namespace("shop", domain="production"),
        identity(),
        builders.domain(authority={"secretRef": {"name": "corporate"}}),
        builders.secret(
            "corporate", tls_crt=corporate.pem, tls_key=corporate.key_pem, ca_crt=root.pem
        ),
    ).settle()
    assert subject(cluster) == ""
    assert reasons(cluster) == []


def test_change_of_peers_never_causes_a_new_leaf() -> None:
    cluster = shop(identity(ports=["https"])).settle()
    key = cluster.objects[SECRET]["data"]["tls.key"]
    cluster.put(identity(ports=["https"], accepts=[builders.accept("checkout")]))
    cluster.put(identity("checkout", calls=[builders.call("payments")]))
    cluster.settle()
    assert cluster.objects[SECRET]["data"]["tls.key"] == key
    assert "checkout" in _peers(cluster)


def test_revoked_consent_leaves_the_peer_list_without_an_authority() -> None:
    """No leaf can be issued then, but the list needs no signature, and revocation must not wait."""
    cluster = shop(
        identity(ports=["https"], accepts=[builders.accept("checkout")]),
        identity("checkout", calls=[builders.call("payments")]),
    ).settle()
    assert "checkout" in _peers(cluster)
    cluster.drop("Secret", Ref(builders.OWN, "production-authority"))
    cluster.put(identity(ports=["https"]))
    cluster.settle()
    assert "checkout" not in _peers(cluster)
    assert cluster.world.secrets[SECRET[1]].public["ca.crt"], "the roots stay"


def _peers(cluster: Cluster) -> str:
    return cluster.world.secrets[SECRET[1]].public["identity.json"]
