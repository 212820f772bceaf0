"""Identities with leftover Secrets are affected when their broker is known again."""

from tests.broker_builders import (
    CHECKOUT,
    FULFILMENT,
    MAIN,
    declared_at,
    give_credentials,
    market,
    orders,
    sync_broker,
)
from tests.builders import OWN, Cluster, identity
from tests.messaging import broker
from troth.resources.references import Ref
from troth.world.facts.broker import Ledger
from troth.world.keys import identity_key
from troth.world.observation.ledger import ledger_manifest, ledger_ref

HOLDERS = {identity_key(CHECKOUT), identity_key(FULFILMENT)}


def forgo(cluster: Cluster) -> None:
    """Have nobody publish or consume anything any more."""
    for ref in (CHECKOUT, FULFILMENT):
        cluster.put(identity(ref.name))
    cluster.put(orders(producers=[], consumers=[]))


def test_identities_with_leftovers_are_affected_when_the_ledger_returns() -> None:
    cluster = market().settle()
    give_credentials(cluster, CHECKOUT, FULFILMENT)
    sync_broker(cluster)
    forgo(cluster)
    place = ledger_ref(OWN, MAIN)
    cluster.drop("ConfigMap", place)
    affected = cluster.put(ledger_manifest(OWN, declared_at(cluster), Ledger()))
    assert affected >= HOLDERS


def test_identities_with_leftovers_are_affected_when_the_broker_may_be_changed() -> None:
    cluster = market(broker(mode="Observe")).settle()
    give_credentials(cluster, CHECKOUT, FULFILMENT)
    forgo(cluster)
    assert cluster.put(broker()) >= HOLDERS


def test_identities_of_another_broker_are_not_affected() -> None:
    cluster = market(broker("other", owns=["else."], principals="else-")).settle()
    give_credentials(cluster, CHECKOUT, FULFILMENT)
    other = cluster.world.brokers.declared(Ref("messaging", "other"))
    assert other is not None
    assert not cluster.put(ledger_manifest(OWN, other, Ledger())) & HOLDERS
