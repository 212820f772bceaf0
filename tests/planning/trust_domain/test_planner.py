"""Plans of a trust domain: one root, bundles that follow namespaces, untouched foreign objects."""

import base64
import copy
from functools import partial
from typing import Any

import pytest

from tests import builders
from tests.builders import (
    DAY,
    OWN,
    Cluster,
    Manifest,
    domain,
    identity,
    key_of,
    namespace,
    rotation,
    secret,
)
from tests.counting import calls_of
from troth.planning.steps.authorities import ActivateRoot, CreateRoot, PrepareRoot
from troth.planning.steps.certificates import IssueLeaf
from troth.planning.steps.objects import Apply, Remove
from troth.resources.references import Ref
from troth.resources.trust_domain.status import RotationPhase
from troth.world.keys import domain_key
from troth.world.observation.objects import NEXT_KEY, NEXT_LEAF

PRODUCTION = domain_key("production")
CA = "Secret", Ref(OWN, "production-authority")
BUNDLE = "ConfigMap", Ref("shop", "trust-bundle")


def governed(*manifests: Manifest) -> Cluster:
    return Cluster.of(namespace("shop", domain="production"), domain(), *manifests)


def makes_root(cluster: Cluster) -> bool:
    return any(isinstance(step, CreateRoot) for step in cluster.plan(PRODUCTION).steps)


def authority_ready(cluster: Cluster) -> tuple[str, str]:
    found = cluster.condition(PRODUCTION, "AuthorityReady")
    return found["status"], found["reason"]


# The root


def test_new_domain_creates_its_root_once() -> None:
    cluster = governed()
    assert makes_root(cluster)
    cluster.settle()
    assert authority_ready(cluster) == ("True", "Active")
    assert not makes_root(cluster)


def test_second_trust_domain_of_a_spiffe_trust_domain_gets_no_root() -> None:
    """The older TrustDomain keeps it, and the younger follows once the older is deleted."""
    other = domain("zebra", domain="production.example")
    production, zebra = ("2027-01-01T00:00:00Z", "2026-01-01T00:00:00Z")
    mine = domain()
    mine["metadata"]["creationTimestamp"] = production
    other["metadata"]["creationTimestamp"] = zebra
    cluster = Cluster.of(mine, other)
    cluster.settle()
    assert authority_ready(cluster) == ("False", "Conflict")
    assert cluster.condition(PRODUCTION, "AuthorityReady")["message"] == (
        "the SPIFFE trust domain production.example belongs to TrustDomain zebra; delete this "
        "TrustDomain and create it with another spec.domain"
    )
    assert not makes_root(cluster)
    assert cluster.condition(domain_key("zebra"), "AuthorityReady")["status"] == "True"
    assert PRODUCTION in cluster.drop("TrustDomain", Ref("", "zebra"))
    cluster.settle()
    assert authority_ready(cluster) == ("True", "Active")


def at_second(name: str, second: int, **spec: Any) -> Manifest:
    """Return a trust domain named `name` that was created at a second."""
    made = domain(name, domain="production.example", **spec)
    made["metadata"]["creationTimestamp"] = f"2027-01-01T00:00:{second:02}Z"
    return made


@pytest.mark.parametrize("second", [30, 10])
def test_domain_with_a_root_keeps_its_spiffe_trust_domain(second: int) -> None:
    """A name decides within one second, and a restore gives its objects new times."""
    zebra = domain_key("zebra")
    cluster = Cluster.of(at_second("zebra", 30)).settle()
    cluster.put(at_second("production", second))
    for _ in range(2):
        assert not makes_root(cluster)
        assert authority_ready(cluster) == ("False", "Conflict")
        assert cluster.condition(zebra, "AuthorityReady")["reason"] == "Active"
        cluster.settle()


def test_domain_that_lost_its_root_keeps_its_spiffe_trust_domain() -> None:
    """The root may come back from a backup. Until the domain is deleted its status records it."""
    cluster = Cluster.of(at_second("zebra", 30), at_second("production", 40)).settle()
    stored = cluster.objects["TrustDomain", Ref("", "zebra")]
    cluster.put(at_second("production", 10))
    cluster.drop("Secret", Ref(OWN, "zebra-authority"))
    assert not makes_root(cluster)
    assert PRODUCTION in cluster.put({**stored, "status": {}})
    assert makes_root(cluster)


def test_foreign_secret_at_the_name_of_a_root_takes_no_spiffe_trust_domain() -> None:
    """A Secret at the name of a root that belongs to nobody is no root."""
    foreign = secret("zebra-authority", tls_crt=b"somebody else's")
    cluster = Cluster.of(at_second("zebra", 30), at_second("production", 10), foreign)
    assert makes_root(cluster)


def two_roots() -> Cluster:
    """Return two domains of one SPIFFE trust domain that both have a root; `zebra` is older."""
    domains = at_second("zebra", 30), at_second("production", 40)
    alone = [Cluster.of(each).settle() for each in domains]
    roots = (alone[0].objects["Secret", Ref(OWN, "zebra-authority")], alone[1].objects[CA])
    return Cluster.of(*domains, *roots).settle()


def rotation_steps(cluster: Cluster, name: str) -> list[type]:
    steps = cluster.plan(domain_key(name)).steps
    return [type(each) for each in steps if isinstance(each, PrepareRoot | ActivateRoot)]


def test_domain_in_conflict_begins_no_rotation_of_its_root() -> None:
    """A rotation would create one more root for the SPIFFE trust domain."""
    cluster = two_roots()
    cluster.now += 300 * DAY  # of the 365 of its lifetime
    assert rotation_steps(cluster, "zebra") == [PrepareRoot]
    assert rotation_steps(cluster, "production") == []
    status = cluster.plan(PRODUCTION).status or {}
    message = cluster.condition(PRODUCTION, "AuthorityReady")["message"]
    assert status["rotation"] == {"phase": "Preparing", "blockers": [message]}
    cluster.drop("TrustDomain", Ref("", "zebra"))
    assert rotation_steps(cluster, "production") == [PrepareRoot]


def test_rotation_under_way_ends_although_the_domain_is_in_conflict() -> None:
    cluster = two_roots()
    prepared, key = builders.root("production.example", "third")
    coming = secret("x", next_crt=prepared, next_key=key.encode())["data"]
    stored = copy.deepcopy(cluster.objects[CA])
    cluster.put({**stored, "data": stored["data"] | coming})
    assert authority_ready(cluster) == ("False", "Conflict")
    cluster.now, cluster.uptime = cluster.now + DAY, DAY.total_seconds()
    assert rotation_steps(cluster, "production") == [ActivateRoot]


def test_compromised_root_of_a_domain_in_conflict_is_replaced() -> None:
    cluster = two_roots()
    active = (cluster.plan(PRODUCTION).status or {})["authorities"][0]["fingerprint"]
    cluster.put(rotation("TrustDomain", "production", OWN, compromised=active))
    assert rotation_steps(cluster, "production") == [PrepareRoot]


@pytest.mark.parametrize("memory", ["status", "issuer"])
def test_lost_root_is_never_created_again(memory: str) -> None:
    """The status records the root; if a restore lost the status, the issuer's certificate does."""
    cluster = Cluster.of(namespace("shop", domain="production"), domain(tokens={}), identity())
    cluster.settle()
    leaf = cluster.objects["Secret", Ref("shop", "payments-identity")]
    cluster.drop(*CA)
    if memory == "issuer":
        stored = copy.deepcopy(cluster.objects["TrustDomain", Ref("", "production")])
        cluster.put({**stored, "status": {}})
    else:
        cluster.drop(*BUNDLE)
    assert not makes_root(cluster)
    assert authority_ready(cluster) == ("False", "AuthorityMissing")
    cluster.settle()
    assert not makes_root(cluster)
    assert cluster.objects["Secret", Ref("shop", "payments-identity")] == leaf
    issued = cluster.condition(key_of(), "CertificateIssued")
    assert (issued["status"], issued["reason"]) == ("Unknown", "AuthorityNotReady")


def test_root_restored_from_a_backup_is_used_again() -> None:
    cluster = governed(identity()).settle()
    backup = cluster.objects[CA]
    cluster.drop(*CA)
    cluster.settle()
    cluster.put(backup)
    assert authority_ready(cluster.settle()) == ("True", "Active")
    assert not any(isinstance(step, IssueLeaf) for step in cluster.plan(key_of()).steps)


def test_bundle_of_another_namespace_is_no_evidence_of_an_earlier_root() -> None:
    cluster = governed(identity()).settle()
    bundle = cluster.objects[BUNDLE]
    assert makes_root(governed(bundle))


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("tls.key", "", "PrivateKeyUnreadable"),
        ("tls.crt", "", "CertificateMissing"),
        ("tls.crt", "Z2FyYmFnZQ==", "NotPEM"),
        ("tls.key", "other", "PrivateKeyMismatch"),
    ],
)
def test_corrupt_authority_is_reported_and_nothing_is_changed(
    field: str, value: str, reason: str
) -> None:
    cluster = governed(identity()).settle()
    broken = copy.deepcopy(cluster.objects[CA])
    other = builders.authority_secret(which="second")["data"]["tls.key"]
    broken["data"][field] = other if value == "other" else value
    children = {key: each for key, each in cluster.objects.items() if key[1].namespace == "shop"}
    cluster.put(broken)
    assert authority_ready(cluster)[0] == "False"
    assert authority_ready(cluster)[1] == reason
    assert cluster.plan(PRODUCTION).steps == ()
    cluster.settle()
    for place, child in children.items():
        if place[0] != "ServiceIdentity":
            assert cluster.objects[place] == child


def test_foreign_secret_under_the_roots_name_is_a_conflict_and_stays() -> None:
    cluster = governed(secret("production-authority", tls_crt=b"somebody else's"))
    assert authority_ready(cluster) == ("False", "Conflict")
    assert cluster.plan(PRODUCTION).steps == ()
    cluster.drop(*CA)
    assert makes_root(cluster)


# A given authority


def given() -> Manifest:
    return domain(authority={"secretRef": {"name": "corporate"}})


def corporate() -> Manifest:
    certificate, key = builders.root("production.example")
    return secret("corporate", tls_crt=certificate, tls_key=key.encode())


def test_missing_given_authority_is_waited_for() -> None:
    cluster = Cluster.of(namespace("shop", domain="production"), given(), identity())
    assert authority_ready(cluster) == ("False", "SecretMissing")
    assert "troth-system/corporate" in cluster.condition(PRODUCTION, "AuthorityReady")["message"]
    assert not makes_root(cluster)
    assert {PRODUCTION, key_of()} <= cluster.put(corporate())
    assert authority_ready(cluster.settle()) == ("True", "Active")
    assert cluster.condition(key_of(), "CertificateIssued")["status"] == "True"


def test_removed_given_authority_signs_nothing_more() -> None:
    cluster = Cluster.of(namespace("shop", domain="production"), given(), corporate(), identity())
    cluster.settle().drop("Secret", Ref(OWN, "corporate"))
    cluster.put(identity("late"))
    assert authority_ready(cluster.settle()) == ("False", "SecretMissing")
    late = cluster.condition(key_of("late"), "CertificateIssued")
    assert (late["status"], late["reason"]) == ("False", "AuthorityNotReady")
    assert cluster.condition(key_of(), "CertificateIssued")["status"] == "Unknown"
    cluster.put(corporate())
    assert authority_ready(cluster.settle()) == ("True", "Active")


def test_given_authority_is_never_written() -> None:
    cluster = Cluster.of(namespace("shop", domain="production"), given(), corporate(), identity())
    before = cluster.objects["Secret", Ref(OWN, "corporate")]
    assert cluster.settle().objects["Secret", Ref(OWN, "corporate")] == before


def test_authority_is_used_only_within_its_validity() -> None:
    cluster = governed(builders.authority_secret())
    cluster.now = builders.NOW - builders.DAY
    assert authority_ready(cluster) == ("False", "AuthorityNotYetValid")
    cluster.now = builders.NOW + builders.YEAR
    assert authority_ready(cluster) == ("False", "AuthorityExpired")
    given_one = Cluster.of(namespace("shop", domain="production"), given(), corporate()).settle()
    assert given_one.plan(PRODUCTION).due is not None


def test_own_root_is_due_when_it_is_time_to_replace_it() -> None:
    due = governed(builders.authority_secret()).plan(PRODUCTION).due
    assert due is not None
    assert builders.NOW + builders.YEAR * 0.6 < due < builders.NOW + builders.YEAR * 0.7


# Bundles


def bundles(cluster: Cluster) -> set[str]:
    return {ref.namespace for kind, ref in cluster.objects if kind == "ConfigMap"}


def test_every_governed_namespace_and_no_other_gets_the_bundle() -> None:
    cluster = governed(namespace("finance", domain="production"), namespace("other"))
    assert bundles(cluster.settle()) == {"shop", "finance"}


def test_namespace_that_leaves_loses_its_bundle() -> None:
    cluster = governed().settle()
    cluster.put(namespace("shop"))
    assert bundles(cluster.settle()) == set()


def test_namespace_claimed_twice_keeps_its_bundle_and_gets_no_other() -> None:
    cluster = governed().settle()
    before = cluster.objects[BUNDLE]
    cluster.put(domain("usurper", namespaceSelector={"matchLabels": {"domain": "production"}}))
    cluster.settle()
    assert cluster.objects[BUNDLE] == before
    for name in ("production", "usurper"):
        told = cluster.condition(domain_key(name), "BundleDistributed")
        assert (told["status"], told["reason"]) == ("False", "NamespaceOverlap")
        assert "production and usurper" in told["message"]


def test_terminating_namespace_is_left_alone() -> None:
    cluster = governed(identity())
    going = namespace("shop", domain="production")
    going["metadata"]["deletionTimestamp"] = builders.stamp(builders.NOW)
    cluster.put(going)
    cluster.settle()
    assert bundles(cluster) == set()
    assert cluster.plan(key_of()).steps == ()
    assert cluster.plan(key_of()).status is None


def test_foreign_config_map_is_never_overwritten() -> None:
    """It has Troth's label, because the informer sees no other, and another owner's name."""
    foreign: Manifest = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "trust-bundle", "namespace": "shop"},
        "data": {"ca.crt": "another's"},
    }
    cluster = governed(builders.owned(foreign, "TrustDomain", "other")).settle()
    assert cluster.objects[BUNDLE]["data"] == {"ca.crt": "another's"}
    told = cluster.condition(PRODUCTION, "BundleDistributed")
    assert (told["status"], told["reason"]) == ("False", "Conflict")


def test_renamed_bundle_moves() -> None:
    cluster = governed().settle()
    cluster.put(domain(bundle={"configMapName": "roots"}))
    cluster.settle()
    found = [ref.name for kind, ref in cluster.objects if kind == "ConfigMap"]
    assert found == ["roots"]


def test_bundles_of_a_deleted_domain_are_deleted_and_its_authority_stays() -> None:
    cluster = governed().settle()
    cluster.drop("TrustDomain", Ref("", "production"))
    steps = cluster.plan(PRODUCTION).steps
    assert [(type(step), step.ref) for step in steps if isinstance(step, Remove)] == [
        (Remove, BUNDLE[1])
    ]
    assert len(steps) == 1


# Federation


def federation(**abroad: Any) -> Cluster:
    return Cluster.of(
        namespace("shop", domain="production"),
        domain(federatesWith=[{"name": "abroad"}]),
        domain("abroad", **({"federatesWith": [{"name": "production"}]} | abroad)),
        builders.authority_secret(),
        builders.authority_secret("abroad"),
    )


def roots(cluster: Cluster) -> int:
    text: str = cluster.settle().objects[BUNDLE]["data"]["ca.crt"]
    return text.count("BEGIN CERTIFICATE")


def test_federated_root_is_trusted_if_both_domains_declare_it() -> None:
    assert roots(federation()) == 2
    assert roots(federation(federatesWith=[])) == 1


def test_federated_root_that_is_not_confined_to_its_domain_is_not_trusted() -> None:
    cluster = federation()
    cluster.put(builders.authority_secret("abroad", constrained=False))
    assert roots(cluster) == 1
    assert cluster.condition(PRODUCTION, "BundleDistributed")["reason"] == "FederatedRootUnconfined"


def test_federated_bundle_does_not_depend_on_the_order_of_arrival() -> None:
    texts = set()
    for first, second in (("abroad", "beyond"), ("beyond", "abroad")):
        cluster = Cluster.of(
            namespace("shop", domain="production"),
            domain(federatesWith=[{"name": first}, {"name": second}]),
            domain("abroad", federatesWith=[{"name": "production"}]),
            domain("beyond", federatesWith=[{"name": "production"}]),
            *(builders.authority_secret(name) for name in ("production", "abroad", "beyond")),
        )
        texts.add(cluster.settle().objects[BUNDLE]["data"]["ca.crt"])
    assert len(texts) == 1


def test_settled_domain_plans_only_unchanged_objects() -> None:
    cluster = governed().settle()
    for step in cluster.plan(PRODUCTION).steps:
        assert isinstance(step, Apply)
        assert cluster.objects[BUNDLE]["data"] == step.manifest["data"]


def governing(namespaces: int) -> Cluster:
    """Return a cluster in which a domain rotates its root and governs some namespaces."""
    cluster = Cluster.of(
        domain(),
        *(namespace(f"n{each:04}", domain="production") for each in range(namespaces)),
        *(identity("w", f"n{each:04}") for each in range(namespaces)),
    )
    cluster.visit(PRODUCTION)
    certificate, private = builders.root("production.example", "second")
    data = {NEXT_LEAF: certificate, NEXT_KEY: private.encode()}
    encoded = {name: base64.b64encode(each).decode() for name, each in data.items()}
    secret = cluster.objects[CA]
    cluster.put({**secret, "data": secret["data"] | encoded})
    cluster.visit(PRODUCTION)
    return cluster


def test_plan_during_a_rotation_costs_little_for_each_namespace() -> None:
    """A domain is planned again for each leaf that is reissued and each bundle that is written."""
    few, many = governing(20), governing(120)
    phase = RotationPhase.DISTRIBUTING.value
    assert (few.plan(PRODUCTION).status or {})["rotation"]["phase"] == phase
    assert (
        calls_of(partial(many.plan, PRODUCTION)) - calls_of(partial(few.plan, PRODUCTION))
        <= 100 * 80
    )


def test_contents_of_equal_bundles_are_parsed_once() -> None:
    cluster = governing(20)
    first, *others = (fact.data for fact in cluster.world.bundles_of("production"))
    assert len(others) == 19
    assert all(each is first for each in others)


def test_copied_key_of_a_given_authority_is_deleted_with_its_domain() -> None:
    cluster = Cluster.of(namespace("shop", domain="production"), given(), corporate()).settle()
    assert CA in cluster.objects
    cluster.drop("TrustDomain", Ref("", "production"))
    (removed,) = [each for each in cluster.plan(PRODUCTION).steps if is_of(each, CA)]
    cluster.carry_out(removed)
    assert CA not in cluster.objects
    assert ("Secret", Ref(OWN, "corporate")) in cluster.objects


def is_of(step: object, place: tuple[str, Ref]) -> bool:
    return isinstance(step, Remove) and (step.kind, step.ref) == place
