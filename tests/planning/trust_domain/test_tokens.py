"""Token issuing of a domain: its key, its issuer's certificate, and the conditions of both."""

import base64
import copy
from datetime import datetime, timedelta
from typing import Any

import pytest
from cryptography import x509

from tests import builders
from tests.builders import (
    NOW,
    OWN,
    Cluster,
    Manifest,
    accept,
    call,
    domain,
    identity,
    key_of,
    namespace,
    stamp,
    tokens_secret,
)
from troth.pki.bundles.spiffe_bundle import parse_spiffe_bundle
from troth.planning.steps.certificates import IssueLeaf, UpdatePublic
from troth.planning.steps.objects import Apply, Remove
from troth.planning.steps.signing_keys import CreateTokenKey, UpdateIssuer
from troth.resources.references import Ref
from troth.world.keys import domain_key, view_key
from troth.world.observation.objects import decoded
from troth.world.outcomes.writes import ForeignFound, WriteRefused

PRODUCTION = domain_key("production")
TOKENS = "Secret", Ref(OWN, "production-tokens")
LEAF = "Secret", Ref(OWN, "production-issuer")


def issuing(*manifests: Manifest, **spec: Any) -> Cluster:
    return Cluster.of(
        namespace("shop", domain="production"),
        domain(**{"tokens": {}, **spec}),
        builders.authority_secret(),
        *manifests,
    )


def ready(cluster: Cluster) -> tuple[str, str]:
    found = cluster.condition(PRODUCTION, "TokensReady")
    return found["status"], found["reason"]


def certificate(cluster: Cluster) -> x509.Certificate:
    return x509.load_pem_x509_certificates(decoded(cluster.objects[LEAF])["tls.crt"])[0]


def names(cluster: Cluster) -> tuple[list[str], list[str]]:
    found = certificate(cluster).extensions.get_extension_for_class(x509.SubjectAlternativeName)
    uris = found.value.get_values_for_type(x509.UniformResourceIdentifier)
    return uris, found.value.get_values_for_type(x509.DNSName)


# The key


def test_domain_without_tokens_has_no_key_and_no_issuer() -> None:
    cluster = Cluster.of(namespace("shop", domain="production"), domain()).settle()
    status = cluster.plan(PRODUCTION).status
    assert status is not None
    assert "TokensReady" not in {each["type"] for each in status["conditions"]}
    assert not {TOKENS, LEAF} & cluster.objects.keys()


def test_domain_with_tokens_makes_its_key_once() -> None:
    cluster = issuing()
    assert ready(cluster) == ("False", "CreatingTokenKey")
    key = decoded(cluster.settle().objects[TOKENS])["current.key"]
    assert ready(cluster) == ("True", "Active")
    assert decoded(cluster.settle().objects[TOKENS])["current.key"] == key
    (told,) = cluster.objects["TrustDomain", Ref("", "production")]["status"]["tokenKeys"]
    assert told["state"] == "Active"
    assert len(told["fingerprint"]) == 16


def test_every_key_that_may_sign_is_published() -> None:
    cluster = issuing(tokens_secret()).settle()
    data = decoded(cluster.objects[TOKENS])
    bundle = parse_spiffe_bundle(data["bundle.json"], "production.example")
    known = cluster.world.tokens.secrets["production-tokens"]
    assert set(bundle.jwt_keys) == {key.kid for key in known.keys}
    assert len(known.keys) == 3
    assert len(bundle.x509_authorities) == 1


def test_lost_key_is_made_again_and_the_loss_reported_while_it_matters() -> None:
    cluster = issuing().settle()
    cluster.drop(*TOKENS)
    told = cluster.condition(PRODUCTION, "TokensReady")
    assert told["reason"] == "CreatingTokenKey"
    assert "verifiers reject tokens of the previous one" in told["message"]
    cluster.settle()
    assert ready(cluster) == ("True", "TokenKeyReplaced")
    due = cluster.plan(PRODUCTION).due
    assert due is not None
    assert due <= NOW + timedelta(minutes=16)
    cluster.now = NOW + timedelta(minutes=17)
    assert ready(cluster) == ("True", "Active")


def test_unreadable_key_is_reported_and_left_alone() -> None:
    cluster = issuing(tokens_secret(current_key=b"nonsense", current_made=b"x")).settle()
    told = cluster.condition(PRODUCTION, "TokensReady")
    assert (told["status"], told["reason"]) == ("False", "TokenKeyUnreadable")
    assert "delete Secret troth-system/production-tokens" in told["message"]
    assert decoded(cluster.objects[TOKENS])["current.key"] == b"nonsense"


@pytest.mark.parametrize("place", [TOKENS, LEAF])
def test_foreign_secret_under_the_issuers_name_is_a_conflict_and_stays(
    place: tuple[str, Ref],
) -> None:
    foreign = builders.secret(place[1].name, current_key=b"somebody else's")
    cluster = issuing(foreign).settle()
    assert ready(cluster) == ("False", "Conflict")
    assert decoded(cluster.objects[place]) == {"current.key": b"somebody else's"}


def test_foreign_key_is_published_nowhere() -> None:
    foreign = tokens_secret()
    foreign["metadata"]["labels"] = {}
    cluster = issuing(foreign).settle()
    bundle = cluster.objects["ConfigMap", Ref("shop", "trust-bundle")]["data"]["bundle.json"]
    assert parse_spiffe_bundle(bundle, "production.example").jwt_keys == {}


@pytest.mark.parametrize("end", ["spec", "domain"])
def test_issuer_secrets_are_deleted_with_the_tokens_or_the_domain(end: str) -> None:
    cluster = issuing().settle()
    if end == "spec":
        cluster.put(domain())
    else:
        cluster.drop("TrustDomain", Ref("", "production"))
    removed = {step.ref for step in cluster.plan(PRODUCTION).steps if isinstance(step, Remove)}
    assert {TOKENS[1], LEAF[1]} <= removed
    assert Ref(OWN, "production-authority") not in removed


def test_only_objects_of_the_issuer_are_deleted() -> None:
    cluster = issuing(builders.secret("production-issuer", tls_crt=b"x")).settle()
    cluster.put(domain())
    removed = {step.ref for step in cluster.plan(PRODUCTION).steps if isinstance(step, Remove)}
    assert removed == {TOKENS[1]}


def test_no_step_holds_a_key() -> None:
    """A plan is printed, compared and logged."""
    cluster = issuing(tokens_secret()).settle()
    secret = cluster.objects[TOKENS]
    cluster.put({**secret, "data": {**secret["data"], "bundle.json": "e30="}})
    (step,) = (each for each in cluster.plan(PRODUCTION).steps if isinstance(each, UpdateIssuer))
    assert set(step.data) == {"bundle.json"}
    assert b"PRIVATE" not in b"".join(step.data.values())
    assert "PRIVATE" not in repr(cluster.world.tokens)
    for name in ("current_key", "next_key"):
        body = builders.token_key("first" if name == "current_key" else "next").split(b"\n")[1]
        assert body not in repr(cluster.world.tokens).encode()


# The issuer's certificate


def test_issuers_certificate_has_its_dns_names() -> None:
    cluster = issuing(tokens={"issuer": "https://tokens.shop.example/production"}).settle()
    assert names(cluster) == (
        ["spiffe://production.example/ns/troth-system/sa/troth-issuer"],
        [
            "production-issuer.troth-system.svc",
            "production-issuer.troth-system.svc.cluster.local",
            "tokens.shop.example",
        ],
    )
    roots = decoded(cluster.objects["Secret", Ref(OWN, "production-authority")])["plain.crt"]
    assert decoded(cluster.objects[LEAF])["ca.crt"].strip() == roots.strip()


def test_issuer_is_no_identity_and_its_certificate_has_no_subject() -> None:
    leaf = issuing().settle().world.secrets[LEAF[1]].leaf
    assert leaf is not None
    assert leaf.subject == ""


def test_another_name_of_the_issuer_reissues_its_certificate() -> None:
    cluster = issuing().settle()
    cluster.put(domain(tokens={"issuer": "https://tokens.shop.example"}))
    assert "tokens.shop.example" in names(cluster.settle())[1]


def test_issuers_certificate_is_renewed_in_time() -> None:
    cluster = issuing().settle()
    before, due = certificate(cluster), cluster.plan(PRODUCTION).due
    assert due is not None
    assert due < NOW + timedelta(hours=16)
    cluster.now = NOW + timedelta(hours=16, minutes=1)
    assert certificate(cluster.settle()) != before


def test_edited_roots_of_the_issuer_are_restored() -> None:
    cluster = issuing().settle()
    secret = cluster.objects[LEAF]
    key = secret["data"]["tls.key"]
    cluster.put({**secret, "data": {**secret["data"], "ca.crt": ""}})
    (step,) = (each for each in cluster.plan(PRODUCTION).steps if isinstance(each, UpdatePublic))
    assert Ref.of(step.manifest) == LEAF[1]
    assert cluster.settle().objects[LEAF]["data"]["tls.key"] == key


def test_issuer_needs_an_authority() -> None:
    cluster = issuing(authority={"secretRef": {"name": "corporate"}}).settle()
    assert ready(cluster) == ("False", "AuthorityNotReady")
    assert not any(isinstance(step, IssueLeaf) for step in cluster.plan(PRODUCTION).steps)


def test_issuer_trusts_its_own_domain_only() -> None:
    """All its callers are of its own trust domain, so it needs no federated root."""
    cluster = issuing(
        domain("abroad", federatesWith=[{"name": "production"}]),
        builders.authority_secret("abroad"),
        federatesWith=[{"name": "abroad"}],
    ).settle()
    assert decoded(cluster.objects[LEAF])["ca.crt"].count(b"BEGIN") == 1
    bundle = cluster.objects["ConfigMap", Ref("shop", "trust-bundle")]["data"]["ca.crt"]
    assert bundle.count("BEGIN") == 2


# Callees that require tokens


def test_callee_that_requires_tokens_is_closed_without_an_issuer() -> None:
    callee = identity(ports=["https"], accepts=[accept("checkout")], authentication={"token": {}})
    caller = identity("checkout", calls=[call("payments")])
    cluster = builders.shop(callee, caller).settle()
    told = cluster.condition(key_of(), "TokensAccepted")
    assert (told["status"], told["reason"]) == ("False", "TokensNotEnabled")
    assert "add tokens: {} to it" in told["message"]
    assert cluster.condition(key_of(), "Ready")["reason"] == "TokensNotEnabled"
    policy = cluster.objects["NetworkPolicy", Ref("shop", "payments-troth")]
    assert "ingress" not in policy["spec"]
    cluster.put(domain(tokens={}))
    cluster.settle()
    assert cluster.condition(key_of(), "TokensAccepted")["reason"] == "Accepted"
    policy = cluster.objects["NetworkPolicy", Ref("shop", "payments-troth")]
    assert len(policy["spec"]["ingress"]) == 1


def test_callee_without_tokens_has_no_token_condition() -> None:
    status = issuing(identity()).settle().plan(key_of()).status
    assert status is not None
    assert "TokensAccepted" not in {each["type"] for each in status["conditions"]}


def test_token_key_is_made_unless_a_foreign_secret_was_just_found() -> None:
    cluster = issuing()
    steps = cluster.plan(PRODUCTION).steps
    assert sum(isinstance(step, CreateTokenKey) for step in steps) == 1
    cluster.world.observe_outcome(ForeignFound("Secret", TOKENS[1], NOW))
    assert not any(isinstance(step, CreateTokenKey) for step in cluster.plan(PRODUCTION).steps)
    cluster.now = NOW + timedelta(minutes=2)
    assert any(isinstance(step, CreateTokenKey) for step in cluster.plan(PRODUCTION).steps)


def test_refused_write_is_reported() -> None:
    cluster = issuing().settle()
    cluster.world.observe_outcome(
        WriteRefused("Secret", TOKENS[1], "Secret x cannot be written: no", passing=False)
    )
    assert ready(cluster) == ("False", "WriteRefused")


def test_incomplete_key_slots_are_not_used() -> None:
    whole = tokens_secret()
    half = copy.deepcopy(whole)
    half["data"].pop("next.made")
    half["data"]["retiring.jwk"] = base64.b64encode(b"[]").decode()
    known = issuing(half).world.tokens.secrets["production-tokens"]
    assert known.prepared is None
    assert known.retiring is None
    assert set(known.spoilt) == {"next.key", "retiring.jwk"}


def test_view_waits_for_the_bundle_beside_it() -> None:
    cluster = issuing()
    cluster.put(tokens_secret())
    assert not cluster.plan(view_key("production")).steps
    cluster.visit(PRODUCTION)
    (step,) = cluster.plan(view_key("production")).steps
    assert isinstance(step, UpdateIssuer)


# The first key


def bundle_created(cluster: Cluster, at: datetime) -> None:
    """Set the time of creation of the bundle, which only a real API server does."""
    bundle = copy.deepcopy(cluster.objects["ConfigMap", Ref("shop", "trust-bundle")])
    bundle["metadata"]["creationTimestamp"] = stamp(at)
    cluster.put(bundle)


def later(cluster: Cluster, length: timedelta) -> None:
    cluster.now += length
    cluster.uptime += length.total_seconds()


def signs(cluster: Cluster) -> bool:
    return "view.json.gz" in decoded(cluster.objects[TOKENS])


def with_older_bundle() -> Cluster:
    """Return a domain that issues tokens since now, and whose bundle is older."""
    cluster = Cluster.of(
        namespace("shop", domain="production"), domain(), builders.authority_secret()
    ).settle()
    bundle_created(cluster, NOW - timedelta(hours=1))
    cluster.put(domain(tokens={}))
    return cluster.settle()


def test_first_key_signs_only_after_the_propagation_delay() -> None:
    cluster = with_older_bundle()
    assert not signs(cluster)
    assert ready(cluster) == ("False", "DistributingTokenKey")
    due = cluster.plan(view_key("production")).due
    assert due == cluster.now + timedelta(minutes=3)
    later(cluster, timedelta(minutes=3))
    assert signs(cluster.settle())
    assert ready(cluster) == ("True", "Active")


def test_first_key_signs_at_once_if_every_bundle_was_created_with_it() -> None:
    cluster = issuing()
    cluster.settle()
    bundle_created(cluster, NOW)
    assert signs(cluster.settle())


def created_bundles(cluster: Cluster) -> list[Manifest]:
    steps = cluster.plan(PRODUCTION).steps
    found = [step.manifest for step in steps if isinstance(step, Apply)]
    return [each for each in found if each["kind"] == "ConfigMap"]


def test_new_bundle_waits_for_the_first_key() -> None:
    cluster = issuing()
    assert not created_bundles(cluster)
    cluster.put(tokens_secret())
    (bundle,) = created_bundles(cluster)
    assert '"jwt-svid"' in bundle["data"]["bundle.json"]


def test_bundle_waits_for_no_key_that_cannot_be_written() -> None:
    cluster = issuing()
    refused = WriteRefused("Secret", TOKENS[1], "Secret x cannot be written: no", passing=False)
    cluster.world.observe_outcome(refused)
    assert len(created_bundles(cluster)) == 1


def test_older_bundle_changes_while_a_key_is_missing() -> None:
    cluster = issuing().settle()
    cluster.drop(*TOKENS)
    assert len(created_bundles(cluster)) == 1


def test_bundle_that_changes_again_and_again_delays_the_first_key_once() -> None:
    cluster = with_older_bundle()
    for _ in range(7):
        later(cluster, timedelta(minutes=1))
        bundle = copy.deepcopy(cluster.objects["ConfigMap", Ref("shop", "trust-bundle")])
        bundle["data"]["bundle-map.json"] = "gone"
        cluster.put(bundle)
        cluster.settle()
    assert signs(cluster)


# The lifetime of certificates


def test_lifetime_that_workloads_cannot_follow_is_refused_with_its_reason() -> None:
    short = {"lifetime": "5m"}
    cluster = issuing(identity(), certificates=short).settle()
    authority = cluster.condition(PRODUCTION, "AuthorityReady")
    assert (authority["status"], authority["reason"]) == ("False", "LifetimeTooShort")
    assert "at least 9m" in authority["message"]
    assert ready(cluster) == ("False", "LifetimeTooShort")
    issued = cluster.condition(key_of(), "CertificateIssued")
    assert (issued["status"], issued["reason"]) == ("False", "LifetimeTooShort")
    assert ("Secret", Ref("shop", "payments-identity")) not in cluster.objects
    cluster.put(domain(tokens={}, certificates=short, bundle={"propagation": "100s"}))
    assert ready(cluster.settle()) == ("True", "Active")
    assert ("Secret", Ref("shop", "payments-identity")) in cluster.objects
