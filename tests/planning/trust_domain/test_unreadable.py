"""A TrustDomain that cannot be read stops only what nobody can answer without it."""

from typing import Any

import pytest

from tests import builders
from tests.builders import DAY, HOUR, Cluster, Manifest, domain, identity, key_of, namespace, shop
from troth.planning.steps.authorities import CreateRoot
from troth.planning.steps.certificates import IssueLeaf
from troth.resources.references import Ref
from troth.world.keys import domain_key
from troth.world.world import World

PRODUCTION = domain_key("production")
SELECTOR = {"matchLabels": {"domain": "other"}}
BROKEN_SELECTOR = {"matchLabels": {"domain": "other"}, "matchFields": []}


def reason(cluster: Cluster, name: str = "payments", namespace: str = "shop") -> str:
    return str(cluster.condition(key_of(name, namespace), "Ready")["reason"])


def renews(cluster: Cluster, name: str = "payments", namespace: str = "shop") -> bool:
    """Return whether the identity's certificate is renewed a day later."""
    cluster.now += DAY - HOUR
    steps = cluster.plan(key_of(name, namespace)).steps
    cluster.now -= DAY - HOUR
    return any(isinstance(step, IssueLeaf) for step in steps)


def restarted(cluster: Cluster) -> World:
    """Return the world of a process that has just listed everything."""
    world = World(builders.OWN)
    for manifest in cluster.objects.values():
        world.observe(manifest, uptime=0.0)
    return world


def test_unreadable_domain_that_selects_nobody_does_not_stop_renewals() -> None:
    cluster = shop(identity()).settle()
    cluster.put(domain("other", unheardOf=1))
    assert reason(cluster) == "InPlace"
    assert renews(cluster)


def test_unreadable_selector_takes_no_namespace_from_the_only_readable_claimant() -> None:
    cluster = shop(identity()).settle()
    cluster.put(domain("other", namespaceSelector=BROKEN_SELECTOR))
    assert reason(cluster) == "InPlace"
    assert renews(cluster)


def test_namespace_that_only_an_unreadable_domain_may_select_is_unsettled() -> None:
    cluster = shop(namespace("lab"), identity("lab", "lab"))
    cluster.put(domain("other", namespaceSelector=BROKEN_SELECTOR))
    assert reason(cluster, "lab", "lab") == "TrustDomainInvalid"
    cluster.put(domain("other", namespaceSelector=SELECTOR, unheardOf=1))
    assert reason(cluster, "lab", "lab") == "NoTrustDomain"
    cluster.put(namespace("lab", domain="other"))
    assert reason(cluster, "lab", "lab") == "TrustDomainInvalid"


def test_unreadable_domain_that_selects_a_governed_namespace_is_an_overlap() -> None:
    cluster = shop(identity()).settle()
    cluster.put(domain("other", namespaceSelector=domain()["spec"]["namespaceSelector"], new=1))
    assert reason(cluster) == "NamespaceOverlap"


def test_last_readable_spec_stays_in_force_across_a_restart() -> None:
    cluster = shop(identity()).settle()
    cluster.put(domain(unheardOf=1))
    cluster.settle()
    told = cluster.condition(PRODUCTION, "Ready")
    assert (told["reason"], told["status"]) == ("InvalidSpec", "False")
    assert "unheardOf" in told["message"]
    for _ in range(2):
        assert reason(cluster) == "InPlace"
        assert renews(cluster)
        cluster.world = restarted(cluster)
    cluster.settle()
    assert cluster.plan(PRODUCTION).status == cluster.plan(PRODUCTION).previous_status


def test_bundle_of_the_last_readable_spec_is_still_distributed() -> None:
    cluster = shop(identity()).settle()
    cluster.put(domain(unheardOf=1))
    cluster.put(namespace("annex", domain="production"))
    cluster.settle()
    assert ("ConfigMap", Ref("annex", "trust-bundle")) in cluster.objects


def test_default_that_a_newer_crd_adds_does_not_stop_the_older_version() -> None:
    """A default appears in every stored spec at once, and status keeps none of them."""
    cluster = shop(identity()).settle()
    text = cluster.objects["TrustDomain", Ref("", "production")]["status"]["readableSpec"]
    assert "lifetime" not in text
    cluster.put(domain(isolation={"mode": "Newest"}))
    assert renews(cluster)


def test_unreadable_domain_that_is_being_deleted_governs_nothing() -> None:
    cluster = shop(identity()).settle()
    held = domain(unheardOf=1)
    held["metadata"] |= {"finalizers": ["example.com/hold"]}
    cluster.put(held)
    cluster.delete("TrustDomain", Ref("", "production"))
    assert reason(cluster) == "TrustDomainTerminating"


def test_domain_whose_kept_spec_is_malformed_is_unsettled() -> None:
    cluster = shop(identity()).settle()
    broken = domain(unheardOf=1)
    cluster.put(broken)
    assert renews(cluster)
    status = cluster.objects["TrustDomain", Ref("", "production")]["status"]
    for text in ("", "{", "null", '{"domain": 1}', "[" * 1000):
        cluster.put({**broken, "status": {**status, "readableSpec": text}})
        assert reason(cluster) == "TrustDomainInvalid"
        assert not renews(cluster)


def makes_root(cluster: Cluster) -> bool:
    return any(isinstance(step, CreateRoot) for step in cluster.plan(PRODUCTION).steps)


@pytest.mark.parametrize("name", ["production.example", None, 7], ids=["same", "missing", "number"])
def test_unreadable_domain_that_may_have_the_spiffe_trust_domain_prevents_a_root(
    name: object,
) -> None:
    """A restore loses the status with the last readable spec, and the other may have a root."""
    cluster = Cluster.of(domain("zebra", domain=name, unheardOf=1), domain())
    assert not makes_root(cluster)
    found = cluster.condition(PRODUCTION, "AuthorityReady")
    assert (found["status"], found["reason"]) == ("False", "TrustDomainInvalid")
    assert found["message"] == (
        "TrustDomain zebra cannot be read and may have the SPIFFE trust domain production.example; "
        "correct it or delete it"
    )
    assert PRODUCTION in cluster.put(domain("zebra", domain="zebra.example", unheardOf=1))
    assert makes_root(cluster)
    cluster.put(domain("zebra", domain=name, unheardOf=1))
    assert PRODUCTION in cluster.drop("TrustDomain", Ref("", "zebra"))
    assert makes_root(cluster)


def test_unreadable_domain_changes_nothing_for_one_that_has_the_root() -> None:
    cluster = shop(identity()).settle()
    cluster.put(domain("zebra", domain="production.example", unheardOf=1))
    assert cluster.condition(PRODUCTION, "AuthorityReady")["reason"] == "Active"
    assert renews(cluster)


def newer(manifest: Manifest, **fields: Any) -> Manifest:
    """Return the object with fields in its status that a newer version wrote."""
    return {**manifest, "status": {**manifest["status"], **fields}}


def test_status_of_a_newer_version_is_readable() -> None:
    cluster = shop(identity()).settle()
    for place in (
        ("TrustDomain", Ref("", "production")),
        ("ServiceIdentity", Ref("shop", "payments")),
    ):
        cluster.put(newer(cluster.objects[place], unheardOf={"deep": 1}))
    assert reason(cluster) == "InPlace"
    assert not cluster.world.unreadable


def test_unreadable_identity_keeps_the_rest_of_its_status() -> None:
    cluster = shop(identity()).settle()
    place = "ServiceIdentity", Ref("shop", "payments")
    certificate = cluster.objects[place]["status"]["certificate"]
    cluster.put(identity(unheardOf=1))
    cluster.settle()
    assert cluster.objects[place]["status"]["certificate"] == certificate
    assert reason(cluster) == "InvalidSpec"
