"""A trust domain that waits for a change in a namespace is affected by it."""

import copy

from tests import builders
from tests.builders import Cluster, Manifest, authority_secret, domain, identity, namespace, shop
from troth.resources.references import Ref
from troth.world.keys import domain_key

PAYMENTS = Ref("shop", "payments")
PRODUCTION, RED = domain_key("production"), domain_key("red")


def preparing(name: str) -> Manifest:
    """Return the Secret of a root, with the next one beside it."""
    made = copy.deepcopy(authority_secret(name))
    certificate, key = builders.root(f"{name}.example", "second")
    made["data"] |= builders.secret("x", next_crt=certificate, next_key=key.encode())["data"]
    return made


def federated() -> Cluster:
    """Return two domains that trust each other; the root of `red` is being replaced."""
    cluster = Cluster()
    for name, there, other in (("red", "north", "blue"), ("blue", "south", "red")):
        cluster.put(authority_secret(name))
        cluster.put(namespace(there, domain=name))
        cluster.put(domain(name, federatesWith=[{"name": other}]))
    cluster.settle()
    cluster.put(preparing("red"))
    cluster.uptime += 1000  # after which the domain names whom it waits for
    return cluster


def cut_off() -> Cluster:
    """Return a shop with a leaf of an earlier CA; the domain's status does not say so yet."""
    cluster = shop(authority_secret(), identity("payments")).settle()
    cluster.put(authority_secret(which="second"))
    return cluster


def test_namespace_that_leaves_a_federated_domain_affects_the_rotating_one() -> None:
    cluster = federated()
    before = cluster.plan(RED)
    affected = cluster.put(namespace("south", domain="none"))
    assert cluster.plan(RED) != before
    assert RED in affected


def test_deleted_namespace_of_a_federated_domain_affects_the_rotating_one() -> None:
    cluster = federated()
    affected = cluster.drop("Namespace", Ref("", "south"))
    assert RED in affected


def test_identity_with_a_leaf_of_an_earlier_ca_affects_its_domain_when_it_is_deleted() -> None:
    cluster = cut_off()
    held = copy.deepcopy(cluster.objects["ServiceIdentity", PAYMENTS])
    held["metadata"]["finalizers"] = ["example.com/hold"]
    cluster.put(held)
    before = cluster.plan(PRODUCTION)
    affected = cluster.delete("ServiceIdentity", PAYMENTS)
    assert cluster.plan(PRODUCTION) != before
    assert PRODUCTION in affected


def test_secret_with_a_leaf_of_an_earlier_ca_affects_its_domain() -> None:
    cluster = cut_off()
    place = "Secret", Ref("shop", "payments-identity")
    secret, before = cluster.objects[place], cluster.plan(PRODUCTION)
    affected = cluster.drop(*place)
    assert cluster.plan(PRODUCTION) != before
    assert PRODUCTION in affected
    assert PRODUCTION in cluster.put(secret)
    assert cluster.plan(PRODUCTION) == before


def test_secret_with_a_leaf_of_the_active_ca_does_not_affect_its_domain() -> None:
    cluster = shop(authority_secret(), identity("payments")).settle()
    place = "Secret", Ref("shop", "payments-identity")
    touched = copy.deepcopy(cluster.objects[place])
    touched["data"]["ca.crt"] = ""
    assert PRODUCTION not in cluster.put(touched)
    assert PRODUCTION not in cluster.drop(*place)
