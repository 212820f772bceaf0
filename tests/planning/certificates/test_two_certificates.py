"""Verifiers of a domain get its plain root and the confined roots of others, never both of one."""

import copy
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import pkcs12

from tests import builders
from tests.builders import (
    OWN,
    Cluster,
    Manifest,
    authority_secret,
    domain,
    identity,
    namespace,
    plain,
    root,
    secret,
)
from tests.pki.builders import YEAR, by_hand, permitting, uri
from troth.documents.secret_keys import ROOTS
from troth.pki.bundles.keystores import truststore_fingerprints
from troth.pki.bundles.spiffe_bundle import parse_bundle_map, parse_spiffe_bundle
from troth.pki.bundles.trust_bundle import bundle_pem
from troth.pki.certificates.pairs import plain_certificate
from troth.pki.encodings.pem import fingerprint, read_certificates
from troth.planning.certificates.anchors import roots_in
from troth.planning.identity.secret.narrowing import Peering, pending_narrowing
from troth.planning.steps.authorities import AddPlain
from troth.planning.steps.certificates import IssueLeaf
from troth.resources.references import Ref
from troth.trust.declarations.narrowing import Narrowing
from troth.world.facts.objects import REPLACED_AT
from troth.world.keys import domain_key
from troth.world.observation.objects import NEVER, decoded

PRODUCTION = domain_key("production")
CA = "Secret", Ref(OWN, "production-authority")
BUNDLE = "ConfigMap", Ref("shop", "trust-bundle")
SECRET = "Secret", Ref("shop", "payments-identity")
ISSUER = "Secret", Ref(OWN, "production-issuer")
KEYSTORES = identity(authentication={"mtls": {"keystores": ["PKCS12"]}})


def federation(*authorities: Manifest, **spec: Any) -> Cluster:
    """Return two domains that federate, each with a root; both issue tokens."""
    return Cluster.of(
        namespace("shop", domain="production"),
        domain(federatesWith=[{"name": "abroad"}], tokens={}, **spec),
        domain("abroad", federatesWith=[{"name": "production"}], tokens={}),
        KEYSTORES,
        *(authorities or (authority_secret(), authority_secret("abroad"))),
    ).settle()


def marks(pem: bytes) -> set[str]:
    return {fingerprint(each) for each in read_certificates(pem, "roots")}


def certificate_of(cluster: Cluster, name: str, file: str) -> str:
    (found,) = marks(decoded(cluster.objects["Secret", Ref(OWN, f"{name}-authority")])[file])
    return found


def in_truststore(data: dict[str, bytes]) -> set[str]:
    password = data["keystore-password"].decode()
    return set(truststore_fingerprints(data["truststore.p12"], password) or ())


def stores(cluster: Cluster) -> dict[str, set[str]]:
    """Return the certificates of each store of the domain `production`."""
    data, files = decoded(cluster.objects[SECRET]), cluster.objects[BUNDLE]["data"]
    password = data["keystore-password"]
    keystore = pkcs12.load_pkcs12(data["keystore.p12"], password)
    return {
        "bundle": marks(files["ca.crt"].encode()),
        "identity": marks(data["ca.crt"]),
        "issuer": marks(decoded(cluster.objects[ISSUER])["ca.crt"]),
        "truststore": in_truststore(data),
        "keystore": {fingerprint(each.certificate) for each in keystore.additional_certs},
        "bundle.json": {
            mark
            for each in parse_spiffe_bundle(
                files["bundle.json"], "production.example"
            ).x509_authorities
            for mark in marks(each)
        },
    }


def test_only_stores_that_every_verifier_enforces_have_federated_roots() -> None:
    cluster = federation()
    own = certificate_of(cluster, "production", "plain.crt")
    both = {own, certificate_of(cluster, "abroad", "tls.crt")}
    assert stores(cluster) == {
        "bundle": both,
        "identity": both,
        "issuer": {own},
        "truststore": {own},
        "keystore": {own},
        "bundle.json": {own},
    }


@pytest.mark.parametrize("file", ["bundle-map.json", "events-bundle-map.json"])
def test_bundle_map_has_each_root_in_its_own_domain(file: str) -> None:
    cluster = federation()
    found = parse_bundle_map(cluster.objects[BUNDLE]["data"][file])
    assert {
        name: {mark for each in bundle.x509_authorities for mark in marks(each)}
        for name, bundle in found.items()
    } == {
        "production.example": {certificate_of(cluster, "production", "plain.crt")},
        "abroad.example": {certificate_of(cluster, "abroad", "tls.crt")},
    }


def test_created_root_has_both_certificates() -> None:
    cluster = Cluster.of(namespace("shop", domain="production"), domain()).settle()
    data = decoded(cluster.objects[CA])
    assert sorted(data) == ["plain.crt", "tls.crt", "tls.key"]
    assert marks(cluster.objects[BUNDLE]["data"]["ca.crt"].encode()) == marks(data["plain.crt"])
    assert not [each for each in cluster.plan(PRODUCTION).steps if isinstance(each, AddPlain)]


def test_unconfined_root_has_one_certificate() -> None:
    unconfined = domain(authority={"selfManaged": {"confined": False}})
    cluster = Cluster.of(namespace("shop", domain="production"), unconfined).settle()
    data = decoded(cluster.objects[CA])
    assert sorted(data) == ["tls.crt", "tls.key"]
    assert marks(cluster.objects[BUNDLE]["data"]["ca.crt"].encode()) == marks(data["tls.crt"])


def before_and_after(cluster: Cluster) -> Iterator[dict[str, bytes]]:
    """Yield the identity's Secret before and after its root gets a plain certificate."""
    yield decoded(cluster.objects[SECRET])
    cluster.settle()
    yield decoded(cluster.objects[SECRET])


def test_root_of_an_older_version_gets_a_plain_certificate_and_no_leaf_changes() -> None:
    old = federation(authority_secret(old=True), authority_secret("abroad", old=True))
    status = old.objects["TrustDomain", Ref("", "production")]["status"]["authorities"]
    assert status[0]["fingerprint"] == certificate_of(old, "production", "tls.crt")[:16]
    fresh = Cluster.of(
        namespace("shop", domain="production"), domain(), KEYSTORES, authority_secret(old=True)
    )
    (step,) = (each for each in fresh.plan(PRODUCTION).steps if isinstance(each, AddPlain))
    assert step.authority == certificate_of(fresh, "production", "tls.crt")
    fresh.visit(builders.key_of())  # the leaf is issued before the plain root exists
    assert not decoded(fresh.objects[CA]).get("plain.crt")
    before, after = before_and_after(fresh)
    assert before["tls.crt"] == after["tls.crt"]
    assert fresh.objects[SECRET]["metadata"]["annotations"][REPLACED_AT] == NEVER
    assert before["keystore.p12"] == after["keystore.p12"]
    assert marks(before["ca.crt"]) != marks(after["ca.crt"])
    assert in_truststore(after) == marks(after["ca.crt"])


def test_peers_see_no_change_when_a_root_gets_a_plain_certificate() -> None:
    """A domain of an older version federates with one that has both certificates."""
    cluster = federation(authority_secret(), authority_secret("abroad", old=True))
    before = copy.deepcopy(cluster.objects[BUNDLE]["data"])
    assert "plain.crt" in decoded(cluster.objects["Secret", Ref(OWN, "abroad-authority")])
    cluster.put(authority_secret("abroad", old=True))
    assert cluster.settle().objects[BUNDLE]["data"] == before


def test_other_certificate_of_a_root_is_no_narrowing() -> None:
    """A Secret whose write is refused closes no edge because of it."""
    one, other = (
        bundle_pem([pem])
        for pem in (
            root("production.example", "first", constrained=True)[0],
            plain("production.example", "first"),
        )
    )
    nobody = Peering(Ref("shop", "payments"), (), {})
    for current, declared in ((one, other), (other, one)):
        assert pending_narrowing({ROOTS: current}, {ROOTS: declared}, nobody) == Narrowing()


def test_renewed_certificate_of_a_root_is_another_root_to_wait_for() -> None:
    """The owner of a CA renews it with the same key: a reader of the old one must get the new."""
    old, renewed = by_hand("root"), by_hand("root", lifetime=2 * YEAR)
    assert not roots_in(bundle_pem([old.pem])) & roots_in(bundle_pem([renewed.pem]))


def test_root_with_the_key_of_the_own_one_is_not_added_to_a_store() -> None:
    """The owner of a CA gives one root to two domains, confined for the second one."""
    free = by_hand("root")
    confined = by_hand("root", constraints=permitting(uri("abroad.example")))
    lower, upper = by_hand("lower", free), by_hand("upper", confined)
    cluster = Cluster.of(
        namespace("shop", domain="production"),
        domain(federatesWith=[{"name": "abroad"}], authority={"secretRef": {"name": "one"}}),
        domain(
            "abroad",
            federatesWith=[{"name": "production"}],
            authority={"secretRef": {"name": "two"}},
        ),
        secret("one", tls_crt=lower.pem, tls_key=lower.key_pem, ca_crt=free.pem),
        secret("two", tls_crt=upper.pem, tls_key=upper.key_pem, ca_crt=confined.pem),
    ).settle()
    assert cluster.condition(domain_key("abroad"), "AuthorityReady")["status"] == "True"
    assert marks(cluster.objects[BUNDLE]["data"]["ca.crt"].encode()) == marks(free.pem)


def test_given_authority_is_not_changed_and_gets_no_plain_certificate() -> None:
    """A key named `plain.crt` in its Secret is not Troth's, and is ignored."""
    confined = by_hand("root", constraints=permitting(uri("production.example")))
    lower = by_hand("lower", confined)
    other = plain_certificate(confined.certificate, confined.key)
    given = secret(
        "corp", tls_crt=lower.pem, tls_key=lower.key_pem, ca_crt=confined.pem, plain_crt=other
    )
    cluster = Cluster.of(
        namespace("shop", domain="production"),
        domain(authority={"secretRef": {"name": "corp"}}),
        KEYSTORES,
        given,
    ).settle()
    assert sorted(decoded(cluster.objects[CA])) == ["ca.crt", "tls.crt", "tls.key"]
    assert marks(cluster.objects[BUNDLE]["data"]["ca.crt"].encode()) == marks(confined.pem)
    assert cluster.condition(PRODUCTION, "AuthorityReady")["status"] == "True"
    assert not [
        each for each in cluster.plan(builders.key_of()).steps if isinstance(each, IssueLeaf)
    ]


def test_given_root_with_a_plain_certificate_begins_no_rotation() -> None:
    confined = by_hand("root", constraints=permitting(uri("production.example")))
    other = plain_certificate(confined.certificate, confined.key)
    given = secret("corp", tls_crt=confined.pem, tls_key=confined.key_pem, plain_crt=other)
    cluster = Cluster.of(
        namespace("shop", domain="production"),
        domain(authority={"secretRef": {"name": "corp"}}),
        given,
    ).settle()
    status = cluster.plan(PRODUCTION).status or {}
    assert status["rotation"]["phase"] == "Idle"
    assert marks(cluster.objects[BUNDLE]["data"]["ca.crt"].encode()) == marks(confined.pem)


def test_given_authority_whose_anchors_contradict_is_refused_with_a_sentence() -> None:
    free = by_hand("root")
    confined = by_hand("root", constraints=permitting(uri("production.example")))
    lower = by_hand("lower", free)
    anchors = free.pem + confined.pem
    cluster = Cluster.of(
        namespace("shop", domain="production"),
        domain(authority={"secretRef": {"name": "corp"}}),
        secret("corp", tls_crt=lower.pem, tls_key=lower.key_pem, ca_crt=anchors),
    ).settle()
    condition = cluster.condition(PRODUCTION, "AuthorityReady")
    assert (condition["status"], condition["reason"]) == ("False", "AnchorsContradict")
    assert "keep one of them" in condition["message"]
