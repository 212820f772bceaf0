"""A ledger that has no room in its ConfigMap: grants are revoked, and none is added."""

import random
from functools import cache

from tests.builders import Cluster, Manifest
from tests.messaging import KAFKA, broker
from troth.planning.brokers.changes import Wanted
from troth.planning.brokers.work import Work, broker_work
from troth.planning.grants.rules import BrokerGrants
from troth.resources.references import Ref
from troth.trust.grants import Observed, Rule
from troth.world.facts.broker import Ledger
from troth.world.observation.ledger import MOST, fits, ledger_manifest, packed

MAIN = Ref("messaging", "main")
CONFIG_MAP = 1_048_576
"""Limit of the API server for the data of a ConfigMap, in bytes."""


@cache
def rules(count: int) -> tuple[Rule, ...]:
    """Return rules of as many principals, with names that do not compress well."""
    chosen = random.Random(18)
    return tuple(
        Rule(f"troth-shop.{chosen.randbytes(24).hex()}", "TOPIC", "LITERAL", "prod.orders", "READ")
        for _ in range(count)
    )


FULL, FEW = 31_000, 10


def mutual_tls() -> Manifest:
    described = {"kafka": {**KAFKA["kafka"], "clients": "MTLS"}}
    made = broker(described=described)
    allowed = {"troth.dev/allow-removals": str(FULL)}
    return {**made, "metadata": {**made["metadata"], "annotations": allowed}}


def work_with(there: frozenset[Rule], wanted: frozenset[Rule]) -> Work:
    """Return the work at a broker that has what its ledger says."""
    cluster = Cluster.of(mutual_tls())
    declared = cluster.world.brokers.messaging.brokers[MAIN]
    cluster.put(ledger_manifest("troth-system", declared, Ledger(there)))
    assert cluster.world.brokers.ledger(MAIN) == Ledger(there)
    principals = frozenset(rule.principal for rule in wanted)
    grants = BrokerGrants(Wanted(wanted), principals, frozenset())
    return broker_work(declared, grants, Observed(rules=there), cluster.world)


def test_full_ledger_admits_no_new_grant_and_says_so() -> None:
    there = frozenset(rules(FULL))
    assert fits(Ledger(frozenset(rules(FEW))))
    assert not fits(Ledger(there))
    work = work_with(frozenset(rules(FEW)), there)
    assert work.full
    assert work.step is None


def test_full_ledger_revokes() -> None:
    there = frozenset(rules(FULL))
    assert MOST < len(packed(Ledger(there))) < CONFIG_MAP
    work = work_with(there, there - set(rules(FEW)))
    assert work.step is not None
    assert set(work.step.removals) == set(rules(FEW))
    assert work.step.after.rules == there - set(rules(FEW))


def test_new_grants_wait_until_revocations_have_made_room() -> None:
    there, new = frozenset(rules(FULL)), frozenset(rules(FULL + FEW)[FULL:])
    kept = frozenset(rules(FULL)[FULL // 2 :])
    work = work_with(there, kept | new)
    assert work.full
    assert work.step is not None
    assert not work.step.additions
    assert set(work.step.removals) == there - kept
    after = work_with(kept, kept | new)
    assert not after.full
    assert after.step is not None
    assert set(after.step.additions) == new


def test_lost_rule_of_a_full_ledger_is_restored() -> None:
    there = frozenset(rules(FULL))
    cluster_lacks = rules(FULL)[0]
    declared = Cluster.of(mutual_tls())
    main = declared.world.brokers.messaging.brokers[MAIN]
    declared.put(ledger_manifest("troth-system", main, Ledger(there)))
    grants = BrokerGrants(Wanted(there), frozenset(rule.principal for rule in there), frozenset())
    observed = Observed(rules=there - {cluster_lacks})
    work = broker_work(main, grants, observed, declared.world)
    assert work.step is not None
    assert work.step.additions == (cluster_lacks,)
