"""Isolated namespaces: pods without an identity reach the resolver alone."""

import copy
from typing import Any

import pytest

from tests import builders, messaging
from tests.builders import (
    NOW,
    Cluster,
    Manifest,
    accept,
    call,
    domain,
    identity,
    key_of,
    namespace,
)
from tests.networkpolicy import Network, Pod
from troth.resources.references import Ref
from troth.world.facts.objects import OWNER_NAME
from troth.world.keys import domain_key
from troth.world.outcomes.writes import ForeignFound

PRODUCTION = domain_key("production")
PLACE = "NetworkPolicy", Ref("shop", "troth-isolation")
RESOLVER = Pod("kube-system", {"k8s-app": "kube-dns"}, "10.0.0.53")


def isolated(**spec: Any) -> Manifest:
    """Return a trust domain without a word about isolation, as a user writes a new one."""
    made = domain(**spec)
    if "isolation" not in spec:
        del made["spec"]["isolation"]
    return made


def cluster(*manifests: Manifest, **spec: Any) -> Cluster:
    return Cluster.of(
        namespace("shop", domain="production"),
        namespace("kube-system"),
        isolated(**spec),
        builders.authority_secret(),
        *manifests,
    ).settle()


def condition(of: Cluster) -> tuple[str, str]:
    found = of.condition(PRODUCTION, "NamespacesIsolated")
    return found["status"], found["reason"]


def pod(app: str, address: int = 1) -> Pod:
    return Pod("shop", {"app": app}, f"10.0.1.{address}")


def network(of: Cluster) -> Network:
    spaces = {
        ref.name: each["metadata"]["labels"]
        for (kind, ref), each in of.objects.items()
        if kind == "Namespace"
    }
    return Network(spaces, tuple(of.policies()))


PAIR = (
    identity("payments", ports=["https"], accepts=[accept("web")]),
    identity("web", calls=[call("payments")]),
)


def test_new_domain_isolates_its_namespaces() -> None:
    it = cluster(*PAIR)
    assert it.objects[PLACE]["spec"] == {
        "podSelector": {},
        "policyTypes": ["Ingress", "Egress"],
        "egress": [
            {
                "to": [
                    {
                        "namespaceSelector": {
                            "matchLabels": {"kubernetes.io/metadata.name": "kube-system"}
                        },
                        "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
                    }
                ],
                "ports": [{"protocol": "TCP", "port": 53}, {"protocol": "UDP", "port": 53}],
            }
        ],
    }
    assert condition(it) == ("True", "Isolated")
    it.put(namespace("annex", domain="production"))
    it.settle()
    assert ("NetworkPolicy", Ref("annex", "troth-isolation")) in it.objects


def test_pods_without_an_identity_reach_only_the_resolver() -> None:
    it = cluster(*PAIR)
    shed, payments, web, stray = pod("shed", 1), pod("payments", 2), pod("web", 3), pod("stray", 4)
    rules = network(it)
    assert rules.lets(web, payments, 8443, "TCP")
    for one, other in (
        *((shed, payments), (payments, shed), (web, shed), (shed, web)),
        *((shed, stray), (shed, Pod("", {}, "203.0.113.9")), (Pod("", {}, "203.0.113.9"), shed)),
    ):
        assert not rules.lets(one, other, 8443, "TCP")
    assert rules.lets(shed, RESOLVER, 53, "UDP")


def test_pods_of_a_deleted_identity_are_denied() -> None:
    it = cluster(*PAIR)
    it.drop("ServiceIdentity", Ref("shop", "payments"))
    it.drop("NetworkPolicy", Ref("shop", "payments-troth"))  # as the garbage collector does
    it.settle()
    assert not network(it).lets(pod("unknown", 1), pod("payments", 2), 8443, "TCP")


def test_domain_that_was_created_earlier_is_not_isolated_until_it_says_so() -> None:
    it = cluster(*PAIR, isolation="Workload")
    place = "TrustDomain", Ref("", "production")
    stored = {**it.objects[place], "spec": isolated()["spec"]}
    status = {name: each for name, each in stored["status"].items() if name != "isolation"}
    it.put({**stored, "status": status})
    it.settle()
    assert PLACE not in it.objects
    assert it.objects[place]["status"]["isolation"] == "Workload"
    it.put(isolated(isolation="Namespace"))
    it.settle()
    assert PLACE in it.objects
    it.put(isolated(isolation="Workload"))
    it.settle()
    assert PLACE not in it.objects


def test_new_domain_is_isolated_even_if_it_is_unreadable_at_first() -> None:
    it = cluster(*PAIR, unheardOf=1)
    it.put(isolated())
    it.settle()
    assert PLACE in it.objects


def test_isolation_is_kept_by_the_status() -> None:
    it = cluster(*PAIR)
    made = it.plan(PRODUCTION)
    assert made.status == made.previous_status
    assert not made.pending(it.world)
    assert it.objects["TrustDomain", Ref("", "production")]["status"]["isolation"] == "Namespace"


def test_namespace_with_an_observed_identity_is_not_isolated() -> None:
    it = cluster(*PAIR)
    affected = it.put(identity("legacy", enforcement="Observe"))
    assert PRODUCTION in affected
    it.settle()
    assert PLACE not in it.objects
    assert condition(it) == ("True", "IsolatedWithExceptions")
    assert "namespace shop" in it.condition(PRODUCTION, "NamespacesIsolated")["message"]
    assert PRODUCTION in it.put(identity("legacy"))
    it.settle()
    assert PLACE in it.objects


def test_namespace_with_the_pods_of_a_broker_is_not_isolated() -> None:
    """Its own calls, to other brokers of it, are declared nowhere."""
    it = cluster(*PAIR)
    pods = {"podSelector": {"matchLabels": {"app": "kafka"}}}
    workload = {**pods, "ports": [{"name": "kafka", "port": 9093}]}
    assert PRODUCTION in it.put(messaging.broker(namespace="shop", workload=workload))
    it.settle()
    assert PLACE not in it.objects
    assert "MessageBroker" in it.condition(PRODUCTION, "NamespacesIsolated")["message"]
    assert PRODUCTION in it.drop("MessageBroker", Ref("shop", "main"))
    it.settle()
    assert PLACE in it.objects


def test_namespaces_of_troth_and_of_the_resolver_are_not_isolated() -> None:
    """Else nobody could reach the API server or the resolver's own servers."""
    own = builders.OWN
    spaces = [namespace(each, domain="production") for each in (own, "kube-system")]
    it = cluster(*spaces, *PAIR)
    isolated_ones = {ref.namespace for kind, ref in it.objects if ref.name == "troth-isolation"}
    assert isolated_ones == {"shop"}
    assert condition(it) == ("True", "Isolated")


def test_unreadable_identity_changes_no_isolation() -> None:
    it = cluster(identity("legacy", enforcement="Observe"))
    broken = identity("legacy", enforcement="Observe", unheardOf=1)
    assert PRODUCTION in it.put(broken)
    it.settle()
    assert PLACE not in it.objects
    assert condition(it) == ("True", "IsolatedWithExceptions")
    it = cluster(*PAIR)
    it.put(broken)
    it.settle()
    assert PLACE in it.objects


def test_namespace_that_is_not_isolated_is_reported_with_the_object_that_cannot_be_read() -> None:
    def said() -> str:
        return str(it.condition(PRODUCTION, "NamespacesIsolated")["message"])

    def because(named: str) -> str:
        return (
            f"namespace shop is not isolated because {named} cannot be read, so pods without an "
            "identity are open there; correct it or delete it"
        )

    it = cluster(identity("legacy", enforcement="Observe"))
    it.put(identity("legacy", unheardOf=1))
    assert said() == because("ServiceIdentity shop/legacy")
    assert PRODUCTION in it.put(identity("cart", unheardOf=1))
    assert said() == because("ServiceIdentity shop/cart")
    assert PRODUCTION in it.put(messaging.broker(namespace="shop", unheardOf=1))
    assert said() == because("MessageBroker shop/main")
    assert PRODUCTION in it.drop("MessageBroker", Ref("shop", "main"))
    assert PRODUCTION in it.drop("ServiceIdentity", Ref("shop", "cart"))
    assert said() == because("ServiceIdentity shop/legacy")


def test_foreign_policy_of_the_name_is_a_conflict() -> None:
    it = Cluster.of(namespace("shop", domain="production"), isolated(), *PAIR)
    it.world.observe_outcome(ForeignFound(*PLACE, NOW))
    status, reason = condition(it)
    assert (status, reason) == ("False", "Conflict")
    assert it.plan(PRODUCTION).due is not None


@pytest.mark.parametrize("how", ["unlabelled", "moved", "deleted"])
def test_isolation_ends_with_the_governance(how: str) -> None:
    it = cluster(*PAIR)
    assert PLACE in it.objects
    match how:
        case "unlabelled":
            it.put(namespace("shop"))
        case "moved":
            other = isolated(namespaceSelector={"matchLabels": {"domain": "other"}})
            it.put({**other, "metadata": {"name": "other"}})
            it.put(namespace("shop", domain="other"))
        case _:
            it.drop("TrustDomain", Ref("", "production"))
            it.visit(PRODUCTION)
    it.settle()
    there = it.objects.get(PLACE)
    owner = there and there["metadata"]["labels"][OWNER_NAME]
    assert owner == ("other" if how == "moved" else None)


# A domain that is being deleted


def held(cluster: Cluster, name: str = "production") -> Cluster:
    """Delete a domain that another program's finalizer holds."""
    place = "TrustDomain", Ref("", name)
    stored = copy.deepcopy(cluster.objects[place])
    stored["metadata"]["finalizers"] = ["example.com/hold"]
    cluster.put(stored)
    cluster.delete(*place)
    return cluster.settle()


def test_isolation_lasts_until_a_deleted_domain_is_gone() -> None:
    """A deletionTimestamp alone opens nothing."""
    it = held(cluster(*PAIR))
    assert it.condition(PRODUCTION, "Ready")["reason"] == "Terminating"
    assert condition(it) == ("True", "Isolated")
    assert not network(it).lets(pod("web", 1), pod("stray", 2), 8443, "TCP")
    it.drop("TrustDomain", Ref("", "production"))
    it.visit(PRODUCTION)
    assert PLACE not in it.settle().objects


@pytest.mark.parametrize("how", ["deleted", "opened"])
def test_isolation_of_a_deleted_domain_is_restored(how: str) -> None:
    it = held(cluster(*PAIR))
    before = it.objects[PLACE]
    if how == "deleted":
        assert PRODUCTION in it.drop(*PLACE)
    else:
        assert PRODUCTION in it.put({**before, "spec": {**before["spec"], "ingress": [{}]}})
    assert it.settle().objects[PLACE]["spec"] == before["spec"]


def test_conflict_over_the_isolation_of_a_deleted_domain_is_tried_again() -> None:
    it = held(cluster(*PAIR))
    it.drop(*PLACE)
    it.world.observe_outcome(ForeignFound(*PLACE, it.now))
    assert condition(it) == ("False", "Conflict")
    assert it.plan(PRODUCTION).due is not None


def test_namespace_that_leaves_a_deleted_domain_is_no_longer_isolated() -> None:
    it = held(cluster(*PAIR))
    it.put(namespace("shop"))
    assert PLACE not in it.settle().objects


def test_successor_isolates_once_the_deleted_domain_is_gone() -> None:
    it = held(cluster(*PAIR))
    it.put({**isolated(), "metadata": {"name": "successor"}})
    assert it.settle().objects[PLACE]["metadata"]["labels"][OWNER_NAME] == "production"
    it.drop("TrustDomain", Ref("", "production"))
    it.visit(PRODUCTION)
    it.settle()
    assert it.objects[PLACE]["metadata"]["labels"][OWNER_NAME] == "successor"


def test_domain_removes_what_it_left_in_a_namespace_once_that_is_settled() -> None:
    """It no longer selects the namespace, so nothing else affects it."""
    either = {"matchExpressions": [{"key": "domain", "operator": "Exists"}]}
    it = cluster(*PAIR)
    for name in ("one", "two"):
        rival = isolated(
            domain=f"{name}.example", namespaceSelector=either, environment="production"
        )
        it.put({**rival, "metadata": {"name": name}})
    it.put(isolated(namespaceSelector={"matchLabels": {"domain": "elsewhere"}}))
    assert it.settle().objects[PLACE]["metadata"]["labels"][OWNER_NAME] == "production"
    narrowed = isolated(domain="two.example", namespaceSelector={"matchLabels": {"domain": "two"}})
    assert PRODUCTION in it.put({**narrowed, "metadata": {"name": "two"}})
    assert it.settle().objects[PLACE]["metadata"]["labels"][OWNER_NAME] == "one"


# Resolvers


OTHER_DNS = {"namespace": "dns", "podSelector": {"matchLabels": {"app": "coredns"}}, "port": 53}


def test_resolver_of_another_domain_is_not_isolated() -> None:
    """Else its pods could neither be asked nor ask others."""
    spaces = [namespace("dns", domain="production"), namespace("web", domain="other")]
    it = cluster(*PAIR, *spaces)
    resolver = "NetworkPolicy", Ref("dns", "troth-isolation")
    assert resolver in it.objects
    other = {**isolated(network={"dns": OTHER_DNS}), "metadata": {"name": "other"}}
    other["spec"]["domain"] = "other.example"
    other["spec"]["namespaceSelector"] = {"matchLabels": {"domain": "other"}}
    assert PRODUCTION in it.put(other)
    assert resolver not in it.settle().objects
    assert PLACE in it.objects
    assert condition(it) == ("True", "IsolatedWithExceptions")
    assert it.condition(PRODUCTION, "NamespacesIsolated")["message"] == (
        "namespace dns has the resolver of TrustDomain other, so pods without an identity are open "
        "there; correct its network.dns, or run the resolver in a namespace that no TrustDomain "
        "selects"
    )
    moved = copy.deepcopy(other)
    moved["spec"]["network"] = {}
    assert PRODUCTION in it.put(moved)
    assert resolver in it.settle().objects
    assert PRODUCTION in it.put(other)
    assert resolver not in it.settle().objects
    assert PRODUCTION in it.drop("TrustDomain", Ref("", "other"))
    assert resolver in it.settle().objects


def test_drift_of_the_isolation_is_restored() -> None:
    it = cluster(*PAIR)
    stored = it.objects[PLACE]
    opened = {**stored, "spec": {**stored["spec"], "ingress": [{}]}}
    assert PRODUCTION in it.put(opened)
    it.settle()
    assert "ingress" not in it.objects[PLACE]["spec"]
    assert it.condition(key_of(), "Ready")["status"] == "True"
