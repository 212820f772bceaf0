"""A ledger that has no room in its ConfigMap: grants are revoked, and none is added."""

import random
from functools import cache

import pytest

from tests.broker_builders import (
    CHECKOUT,
    CONSUMER,
    FULFILMENT,
    MAIN,
    ORDERS,
    PUBLISHER,
    credential,
    fingerprint,
    give_credentials,
    market,
    see,
)
from tests.builders import Cluster, Manifest
from tests.messaging import KAFKA, broker
from troth.planning.brokers.view import work_at
from troth.planning.brokers.work import Work
from troth.planning.grants.changes import Wanted
from troth.planning.grants.rules import BrokerGrants
from troth.trust.grants import Observed, Rule, Slot
from troth.world.facts.broker import Ledger
from troth.world.keys import broker_key, policy_key
from troth.world.observation.ledger import MOST, MOST_ROTATING, fits, ledger_manifest, packed
from troth.world.reader import Reader

CONFIG_MAP = 1_048_576
"""Limit of the API server for the data of a ConfigMap, in bytes."""


@cache
def rules(count: int, namespace: str = "shop") -> tuple[Rule, ...]:
    """Return rules of as many principals, with names that do not compress well."""
    chosen = random.Random(18)
    return tuple(
        Rule(
            f"troth-{namespace}.{chosen.randbytes(24).hex()}",
            "TOPIC",
            "LITERAL",
            "prod.orders",
            "READ",
        )
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
    return work_at(declared, grants, Observed(rules=there), Reader(cluster.world))


def test_full_ledger_admits_no_new_grant_and_says_so() -> None:
    there = frozenset(rules(FULL))
    assert fits(Ledger(frozenset(rules(FEW))), MOST)
    assert not fits(Ledger(there), MOST)
    work = work_with(frozenset(rules(FEW)), there)
    assert work.growth.is_limited
    assert work.step is None


@pytest.mark.parametrize("there", [FEW, FULL - 1000])
def test_namespace_within_its_share_gets_its_grants_although_another_wants_more_than_fits(
    there: int,
) -> None:
    known, others = frozenset(rules(there)), frozenset(rules(FEW, "tax"))
    assert fits(Ledger(known), MOST)
    work = work_with(known, frozenset(rules(FULL)) | others)
    assert work.growth.over == frozenset({"shop"})
    assert work.step is not None
    assert set(work.step.additions) == others
    assert not work.step.removals


def test_no_namespace_gets_grants_once_the_room_for_shares_is_used_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("troth.planning.brokers.growth.MOST_SHARED", MOST)
    known = frozenset(rules(FULL))
    work = work_with(known, known | frozenset(rules(FEW, "tax")))
    assert work.growth.over is None
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
    assert work.growth.is_limited
    assert work.step is not None
    assert not work.step.additions
    assert set(work.step.removals) == there - kept
    after = work_with(kept, kept | new)
    assert not after.growth.is_limited
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
    work = work_at(main, grants, observed, Reader(declared.world))
    assert work.step is not None
    assert work.step.additions == (cluster_lacks,)


def rotation_work(monkeypatch: pytest.MonkeyPatch, *, room: int) -> Work:
    """Return the work at a full ledger, with `room` bytes for next credentials.

    `checkout` has a next credential and `fulfilment` its first one. The ledger has a credential of
    `checkout` only.
    """
    cluster = market()
    first, second = (Slot.FIRST, "first"), (Slot.SECOND, "second")
    mine = cluster.objects["ServiceIdentity", CHECKOUT]
    cluster.put(credential(mine, current=first, upcoming=second))
    cluster.put(credential(cluster.objects["ServiceIdentity", FULFILMENT]))
    there, place = frozenset(rules(FEW)), (PUBLISHER, Slot.FIRST)
    ledger = Ledger(there, credentials={place: fingerprint(PUBLISHER)})
    main = cluster.world.brokers.messaging.brokers[MAIN]
    cluster.put(ledger_manifest("troth-system", main, ledger))
    size = len(packed(ledger))
    monkeypatch.setattr("troth.world.observation.ledger.ALWAYS_FIT", 0)
    monkeypatch.setattr("troth.planning.brokers.growth.MOST", size)
    monkeypatch.setattr("troth.planning.brokers.growth.MOST_SHARED", size)
    monkeypatch.setattr("troth.planning.brokers.growth.MOST_ROTATING", size + room)
    principals = frozenset({PUBLISHER, CONSUMER, *(rule.principal for rule in there)})
    grants = BrokerGrants(Wanted(there), principals, frozenset())
    observed = Observed(rules=there, credentials=frozenset({place}))
    return work_at(main, grants, observed, Reader(cluster.world))


def test_full_ledger_lets_its_principals_rotate_and_admits_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    work = rotation_work(monkeypatch, room=1_000)
    assert work.growth.is_limited
    assert work.step is not None
    uploads = [(each.principal, each.slot) for each in work.step.uploads]
    assert uploads == [(PUBLISHER, Slot.SECOND)]
    assert not work.unrotated


def test_rotation_waits_before_the_api_server_would_refuse_the_ledger(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert MOST < MOST_ROTATING < CONFIG_MAP
    work = rotation_work(monkeypatch, room=0)
    assert work.growth.is_limited
    assert work.step is None
    assert work.unrotated == frozenset({PUBLISHER})


def status_at_limit(monkeypatch: pytest.MonkeyPatch, cluster: Cluster) -> Manifest:
    """Return the status of a broker whose ledger has no room at all."""
    monkeypatch.setattr("troth.world.observation.ledger.ALWAYS_FIT", 0)
    for limit in ("MOST", "MOST_SHARED", "MOST_ROTATING"):
        monkeypatch.setattr(f"troth.planning.brokers.growth.{limit}", 1)
    return status_of(cluster)


def status_of(cluster: Cluster) -> Manifest:
    status = cluster.plan(broker_key(MAIN)).status
    assert status is not None
    return dict(status)


def seen_market() -> Cluster:
    """Return a market whose broker has nothing yet, and whose identities have credentials."""
    cluster = market()
    give_credentials(cluster, CHECKOUT, FULFILMENT)
    cluster.visit(policy_key(ORDERS))
    see(cluster, frozenset(), frozenset())
    return cluster


def test_status_names_the_namespaces_without_room(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = seen_market()
    assert "namespacesWithoutRoom" not in status_of(cluster)
    assert status_at_limit(monkeypatch, cluster)["namespacesWithoutRoom"] == ["shop"]
    monkeypatch.setattr("troth.planning.brokers.growth._above_share", lambda *_: ())
    assert status_of(cluster)["namespacesWithoutRoom"] == ["*"]


def test_namespaces_without_room_stay_in_the_status_until_the_broker_is_observed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cluster = seen_market()
    status = status_at_limit(monkeypatch, cluster)
    cluster.put(cluster.objects["MessageBroker", MAIN] | {"status": status})
    cluster.world.brokers.forget_observation(MAIN)  # a restart of Troth
    assert status_of(cluster)["namespacesWithoutRoom"] == ["shop"]
    monkeypatch.undo()
    see(cluster, frozenset(), frozenset())
    assert "namespacesWithoutRoom" not in status_of(cluster)


def test_status_counts_the_rotations_without_room(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = seen_market()
    mine = cluster.objects["ServiceIdentity", CHECKOUT]
    first, second = (Slot.FIRST, "first"), (Slot.SECOND, "second")
    cluster.put(credential(mine, current=first, upcoming=second))
    see(cluster, frozenset(), {(PUBLISHER, Slot.FIRST)})
    main = cluster.world.brokers.messaging.brokers[MAIN]
    ledger = Ledger(credentials={(PUBLISHER, Slot.FIRST): fingerprint(PUBLISHER, "first")})
    cluster.put(ledger_manifest("troth-system", main, ledger))
    assert "rotationsWithoutRoom" not in status_of(cluster)
    status = status_at_limit(monkeypatch, cluster)
    assert status["rotationsWithoutRoom"] == 1
    (told,) = (each for each in status["conditions"] if each["type"] == "InSync")
    assert told["message"].startswith(
        "the ledger of this broker has no room in its ConfigMap, so revocations take effect but "
        "the rotations of troth-shop.checkout, new grants and first credentials do not; "
    )
