"""Brokers are affected by other brokers, and by the policies and identities of which they keep
something.
"""

import copy

from tests.broker_builders import (
    CHECKOUT,
    FULFILMENT,
    MAIN,
    ORDERS,
    PUBLISHER,
    ledger_of,
    market,
    see,
    sync_broker,
)
from tests.builders import NOW, Cluster, Manifest, rotation, stamp
from tests.messaging import KAFKA, broker, policy
from troth.planning.grants.finalizer import FINALIZER
from troth.resources.references import Ref
from troth.world.index.rotations import rotation_key
from troth.world.keys import broker_key, identity_key, policy_key

BROKER = broker_key(MAIN)


def at_work(*manifests: Manifest) -> Cluster:
    """Return a shop whose broker has all grants."""
    cluster = market(*manifests).settle()
    see(cluster)
    sync_broker(cluster.settle())
    return cluster


def leaving(cluster: Cluster) -> None:
    """Delete the broker, whose finalizer holds it."""
    held = copy.deepcopy(cluster.objects["MessageBroker", MAIN])
    held["metadata"]["finalizers"] = [FINALIZER]
    cluster.put(held)
    cluster.delete("MessageBroker", MAIN)


def unreadable(manifest: Manifest) -> Manifest:
    return {**manifest, "spec": {**manifest["spec"], "unknownField": 1}}


def test_brokers_with_the_same_admin_secret_affect_each_other() -> None:
    cluster = at_work()
    asked = rotation("MessageBroker", "main", "messaging", requestedAt=stamp(NOW))
    cluster.put(asked)
    described = {"kafka": {**KAFKA["kafka"], "bootstrapServers": ["elsewhere:9093"]}}
    other = broker("other", described=described, owns=["else."], principals="else-")
    affected = {BROKER, rotation_key(Ref.of(asked))}
    assert cluster.put(other) >= affected
    other["spec"]["kafka"] |= {"adminSecretRef": {"name": "its-own"}}
    assert cluster.put(other) >= affected
    assert not cluster.put({**other, "spec": {**other["spec"], "mode": "Observe"}}) & affected


def test_unreadable_policy_affects_a_broker_that_is_being_deleted() -> None:
    """What stays in its NetworkPolicy depends on what the policy may declare."""
    cluster = at_work()
    leaving(cluster)
    policy = unreadable(cluster.objects["TopicPolicy", ORDERS])
    assert BROKER in cluster.put(policy)
    assert BROKER in cluster.put(unreadable(cluster.objects["ServiceIdentity", CHECKOUT]))
    assert BROKER in cluster.drop("TopicPolicy", ORDERS)


def test_deleted_identity_affects_the_broker_at_which_its_grants_outlive_their_policy() -> None:
    cluster = at_work()
    allowing = copy.deepcopy(cluster.objects["MessageBroker", MAIN])
    allowing["spec"]["retention"] = "Allow"
    cluster.put(allowing)
    retained = {**cluster.objects["TopicPolicy", ORDERS]}
    retained["spec"] = {**retained["spec"], "onDelete": "Retain"}
    cluster.put(retained)
    cluster.delete("TopicPolicy", ORDERS)
    sync_broker(cluster)
    cluster.drop("TopicPolicy", ORDERS)
    assert {rule.principal for rule in ledger_of(cluster).retained} >= {PUBLISHER}
    before = cluster.plan(BROKER)
    affected = cluster.drop("ServiceIdentity", CHECKOUT)
    assert cluster.plan(BROKER).steps != before.steps
    assert BROKER in affected


def test_changed_mode_of_a_broker_that_is_being_deleted_affects_who_has_a_credential() -> None:
    """Troth removes no Secret of a broker that it may not change."""
    cluster = at_work()
    leaving(cluster)
    before = cluster.plan(identity_key(CHECKOUT))
    going = copy.deepcopy(cluster.objects["MessageBroker", MAIN])
    going["spec"]["mode"] = "Observe"
    affected = cluster.put(going)
    assert cluster.plan(identity_key(CHECKOUT)).steps != before.steps
    assert identity_key(CHECKOUT) in affected


def test_claims_of_an_unreadable_policy_affect_what_they_hold_up() -> None:
    cluster = market()
    named = {"kind": "Group", "name": "fulfilment", "broker": str(MAIN), "since": stamp(NOW)}
    gone = policy("gone", "legal", topic={"name": "prod.gone"}, consumers=[])
    claiming = {**unreadable(gone), "status": {"claims": [named]}}
    held_up = {policy_key(ORDERS), identity_key(FULFILMENT), BROKER}
    assert cluster.put(claiming) >= held_up
    assert not cluster.put(claiming) & held_up - {BROKER}
    assert cluster.drop("TopicPolicy", Ref.of(gone)) >= held_up
