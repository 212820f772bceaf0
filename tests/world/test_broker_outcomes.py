"""Every policy whose status depends on an outcome at a broker, or on its ledger, is affected."""

import pytest

from tests.broker_builders import (
    CHECKOUT,
    DOWN,
    MAIN,
    ORDERS,
    PUBLISHER,
    declared_at,
    keep_ledger,
    ledger_of,
    lose_sight,
    market,
    see,
    sync_broker,
)
from tests.builders import OWN, Cluster, Manifest, rotation, stamp
from troth.planning.grants.view import grants_at
from troth.resources.references import Ref
from troth.trust.grants import Observed
from troth.world.facts.broker import Ledger
from troth.world.index.brokers import credential_ref
from troth.world.index.rotations import rotation_key
from troth.world.keys import Keys, broker_key, identity_key, policy_key
from troth.world.observation.ledger import ledger_manifest
from troth.world.outcomes.brokers import BrokerChanged, WorkFailed
from troth.world.reader import Reader

POLICY = policy_key(ORDERS)


def at_work() -> Cluster:
    """Return a shop whose broker has all grants."""
    cluster = market().settle()
    see(cluster)
    sync_broker(cluster.settle())
    assert state(cluster) == "AllInSync"
    return cluster


def unreadable_ledger(cluster: Cluster) -> Manifest:
    return {**ledger_manifest(OWN, declared_at(cluster), Ledger()), "binaryData": {}}


def state(cluster: Cluster) -> str:
    reason: str = cluster.condition(POLICY, "GrantsInSync")["reason"]
    return reason


def test_policy_is_affected_when_the_ledger_adopts_rules_that_its_broker_has() -> None:
    """A rule of a lost ledger is left alone until it is declared again."""
    cluster = at_work()
    known = ledger_of(cluster)
    keep_ledger(cluster, Ledger(credentials=known.credentials, left=known.rules))
    assert state(cluster) == "AwaitingBroker"
    affected = cluster.put(ledger_manifest(OWN, declared_at(cluster), known))
    assert state(cluster) == "AllInSync"
    assert affected >= {POLICY, broker_key(MAIN)}


def test_rules_that_the_broker_does_not_have_yet_affect_no_policy() -> None:
    """The outcome of the change affects it."""
    cluster = at_work()
    known = ledger_of(cluster)
    keep_ledger(cluster, Ledger(credentials=known.credentials))
    see(cluster, credentials=known.credentials)
    affected = cluster.put(ledger_manifest(OWN, declared_at(cluster), known))
    assert state(cluster) == "AwaitingBroker"
    assert affected == {broker_key(MAIN)}


def test_policy_is_affected_when_its_ledger_becomes_unreadable_and_readable() -> None:
    cluster = at_work()
    keep_ledger(cluster, Ledger())
    assert POLICY in cluster.put(unreadable_ledger(cluster))
    assert state(cluster) == "LedgerUnreadable"
    assert POLICY in cluster.put(ledger_manifest(OWN, declared_at(cluster), Ledger()))
    assert state(cluster) == "AwaitingBroker"


def test_policy_is_affected_when_a_stale_plan_ends_the_fault_of_its_broker() -> None:
    cluster = at_work()
    lose_sight(cluster)
    assert state(cluster) == "BrokerUnreachable"
    affected = cluster.world.observe_outcome(WorkFailed(MAIN, None, cluster.uptime))
    assert state(cluster) == "AllInSync"
    assert POLICY in affected


@pytest.mark.parametrize("stale", [False, True])
def test_policy_is_affected_when_the_broker_rejects_nothing_of_it_any_more(stale: bool) -> None:
    cluster = at_work()
    rejected = next(rule for rule in ledger_of(cluster).rules if rule.principal == PUBLISHER)
    observed = cluster.world.brokers.observation(MAIN).observed
    assert observed is not None
    affected = changed(cluster, observed, {rejected: "no"})
    assert state(cluster) == "BrokerRefused"
    assert POLICY in affected
    if stale:
        affected = cluster.world.observe_outcome(WorkFailed(MAIN, None, cluster.uptime))
    else:
        affected = changed(cluster, observed, {})
    assert state(cluster) == "AllInSync"
    assert POLICY in affected


def changed(cluster: Cluster, observed: Observed, failures: dict[object, str]) -> Keys:
    outcome = BrokerChanged(MAIN, observed, failures, cluster.uptime)  # type: ignore[arg-type]
    return cluster.world.observe_outcome(outcome)


def test_policy_is_affected_when_its_rules_are_made() -> None:
    cluster = at_work()
    known = ledger_of(cluster)
    see(cluster, credentials=known.credentials)
    assert state(cluster) == "AwaitingBroker"
    made = grants_at(declared_at(cluster), known, Reader(cluster.world)).wanted.rules
    affected = changed(cluster, Observed(frozenset(known.credentials), made), {})
    assert state(cluster) == "AllInSync"
    assert affected >= {POLICY, identity_key(CHECKOUT)}


def test_rotation_of_an_identity_is_affected_by_a_fault_of_its_broker() -> None:
    cluster = at_work()
    asked = rotation("ServiceIdentity", "checkout", "shop", requestedAt=stamp(cluster.now))
    cluster.put(asked)
    affected = cluster.world.observe_outcome(WorkFailed(MAIN, DOWN, cluster.uptime))
    assert affected >= {identity_key(CHECKOUT), rotation_key(Ref.of(asked))}


def test_fault_that_is_known_affects_nobody() -> None:
    cluster = at_work()
    assert cluster.world.observe_outcome(WorkFailed(MAIN, DOWN, 1.0))
    assert not cluster.world.observe_outcome(WorkFailed(MAIN, DOWN, 2.0))


def test_policy_is_affected_when_a_credential_that_it_needs_is_deleted_or_written() -> None:
    cluster = at_work()
    place = "Secret", credential_ref(CHECKOUT, MAIN)
    secret = cluster.objects[place]
    assert POLICY in cluster.drop(*place)
    assert state(cluster) == "AwaitingCredential"
    assert POLICY in cluster.put(secret)
    assert state(cluster) != "AwaitingCredential"


def test_secret_that_says_the_same_of_its_credential_affects_no_policy() -> None:
    cluster = at_work()
    secret = cluster.objects["Secret", credential_ref(CHECKOUT, MAIN)]
    assert POLICY not in cluster.put(secret)
