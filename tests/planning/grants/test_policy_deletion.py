"""Deletion of a policy: it stays until its grants are revoked, but not for ever.

After that it reports the grants that are left. The broker's ledger keeps them until they can be
revoked.
"""

from dataclasses import replace
from datetime import timedelta

import pytest

from tests import builders
from tests.broker_builders import (
    CHECKOUT,
    DOWN,
    FULFILMENT,
    MAIN,
    ORDERS,
    PUBLISHER,
    declared_at,
    give_credentials,
    keep_ledger,
    ledger_of,
    lose_ledger,
    lose_sight,
    market,
    orders,
    publisher,
    subscriber,
    sync_broker,
)
from tests.builders import OWN, Cluster, Manifest, namespace
from tests.messaging import broker, policy, producer
from troth.planning.grants.finalizer import FINALIZER, PATIENCE
from troth.planning.grants.policy_deletion import left_of
from troth.planning.grants.view import gather_deletion
from troth.planning.steps.objects import SetFinalizers
from troth.reconcile.events.transitions import repair
from troth.resources.messaging.topic_policy import TopicPolicy
from troth.resources.references import Ref
from troth.trust.declarations.unlisted import UNLISTED
from troth.trust.grants import Slot
from troth.world.facts.broker import Ledger
from troth.world.keys import broker_key, identity_key, policy_key
from troth.world.observation.ledger import FILE, ledger_manifest
from troth.world.outcomes.writes import WriteRefused
from troth.world.reader import Reader

KEY = policy_key(ORDERS)
SAME = Ref("shop", "same")
SECOND = timedelta(seconds=1)


def deleted(*manifests: Manifest) -> Cluster:
    """Return a market in which everything was in place when the policy `orders` was deleted."""
    cluster = market(*manifests)
    give_credentials(cluster, CHECKOUT, FULFILMENT)
    for _ in ("each is held", "each has said what the broker has"):
        for key in [key for key in cluster.keys() if key.kind == "TopicPolicy"]:  # noqa: SIM118
            cluster.visit(key)
        sync_broker(cluster)
    cluster.delete("TopicPolicy", ORDERS)
    return cluster


def waits_for(cluster: Cluster) -> tuple[str, str]:
    """Return the reason and the message of a policy that is being deleted."""
    plan = cluster.plan(KEY)
    assert not plan.steps, "it is let go"
    assert plan.status is not None
    ready = next(each for each in plan.status["conditions"] if each["type"] == "Ready")
    assert ready["status"] == "False"
    return ready["reason"], ready["message"]


def let_go(cluster: Cluster) -> str:
    """Return the warning of a policy that is released: the grants that are left."""
    plan = cluster.plan(KEY)
    (step,) = plan.steps
    assert isinstance(step, SetFinalizers)
    assert FINALIZER not in step.finalizers
    assert plan.status is None
    return step.warning


def is_gone(cluster: Cluster) -> bool:
    cluster.visit(KEY)
    return ("TopicPolicy", ORDERS) not in cluster.objects


# Revoke


def test_policy_stays_until_its_grants_are_revoked() -> None:
    cluster = deleted()
    assert waits_for(cluster) == (
        "Revoking",
        "Troth is revoking the grants at MessageBroker messaging/main",
    )
    assert cluster.condition(KEY, "Reconciling")["status"] == "True"
    ledger = sync_broker(cluster)
    assert not ledger.rules
    assert let_go(cluster) == ""
    assert is_gone(cluster)


def test_policy_waits_at_most_ten_minutes_for_a_broker_in_a_namespace_without_a_list() -> None:
    """Nothing is planned for the broker, whether it is known or not."""
    cluster = deleted()
    cluster.world.registry.unlisted.expect({MAIN.namespace})
    assert waits_for(cluster)[0] == UNLISTED
    cluster.now += PATIENCE
    assert "Publish prod.orders.v1" not in let_go(cluster)
    assert "everything that shop/checkout, shop/fulfilment has" in let_go(cluster)


def test_waiting_policy_has_an_unchanged_status() -> None:
    cluster = deleted()
    cluster.visit(KEY)
    plan = cluster.plan(KEY)
    assert plan.status == plan.previous_status


def test_policy_waits_for_credentials_of_identities_without_rules() -> None:
    """Without rules, the credential alone would still allow a connection."""
    cluster = deleted()
    keep_ledger(cluster, replace(ledger_of(cluster), rules=frozenset()))
    assert waits_for(cluster)[0] == "Revoking"
    keep_ledger(cluster, Ledger())
    assert let_go(cluster) == ""


def test_credential_with_another_grant_is_not_waited_for() -> None:
    other = policy("other", topic={"name": "prod.other"}, producers=[producer("checkout")])
    cluster = deleted(publisher("checkout", "orders", "other"), other)
    ledger = sync_broker(cluster)
    assert (PUBLISHER, Slot.FIRST) in ledger.credentials
    assert let_go(cluster) == ""


def test_foreign_finalizers_stay_and_are_named() -> None:
    described = orders()
    described["metadata"]["finalizers"] = ["example.com/backup"]
    cluster = deleted(described)
    sync_broker(cluster)
    assert not is_gone(cluster)
    stored = cluster.objects["TopicPolicy", ORDERS]
    assert stored["metadata"]["finalizers"] == ["example.com/backup"]
    reason, message = waits_for(cluster)
    assert reason == "Deleting"
    assert "example.com/backup" in message


def test_policy_waits_in_a_terminating_namespace() -> None:
    cluster = deleted()
    going = builders.namespace("shop", domain="production")
    going["metadata"]["deletionTimestamp"] = builders.stamp(cluster.now)
    cluster.put(going)
    assert waits_for(cluster)[0] == "Revoking"
    sync_broker(cluster)
    assert is_gone(cluster)


def test_policy_waits_for_the_grants_of_a_deleted_identity() -> None:
    cluster = deleted()
    cluster.drop("ServiceIdentity", CHECKOUT)
    cluster.drop("ServiceIdentity", FULFILMENT)
    assert waits_for(cluster)[0] == "Revoking"
    sync_broker(cluster)
    assert is_gone(cluster)


def test_refused_removal_of_the_finalizer_is_reported() -> None:
    cluster = deleted()
    sync_broker(cluster)
    cluster.world.observe_outcome(
        WriteRefused(
            "TopicPolicy", ORDERS, "TopicPolicy shop/orders cannot be written: no", passing=False
        )
    )
    assert cluster.plan(KEY).steps
    assert cluster.condition(KEY, "Ready")["reason"] == "WriteRefused"


# Two policies that grant the same


def test_rule_that_another_policy_grants_is_not_waited_for() -> None:
    names = ("orders", "same")
    cluster = deleted(
        publisher("checkout", *names), subscriber("fulfilment", *names), orders("same")
    )
    before = ledger_of(cluster)
    assert let_go(cluster) == ""
    assert is_gone(cluster)
    assert sync_broker(cluster).rules == before.rules


def test_new_policy_with_the_same_grants_ends_the_wait() -> None:
    """Nothing changes at the broker, so no change of the broker would invalidate the policy."""
    names = ("orders", "same")
    cluster = deleted(publisher("checkout", *names), subscriber("fulfilment", *names))
    assert waits_for(cluster)[0] == "Revoking"
    assert KEY in cluster.put(orders("same"))
    assert let_go(cluster) == ""


def test_two_deleted_policies_do_not_count_as_each_others_grants() -> None:
    names = ("orders", "same")
    cluster = deleted(
        publisher("checkout", *names), subscriber("fulfilment", *names), orders("same")
    )
    cluster.visit(policy_key(SAME))
    cluster.delete("TopicPolicy", SAME)
    assert waits_for(cluster)[0] == "Revoking"


def test_policy_of_another_broker_does_not_count() -> None:
    elsewhere = orders("same", brokerRef={"name": "second", "namespace": "messaging"})
    names = ("orders", "same")
    cluster = deleted(
        broker("second", principals="troth-"),
        publisher("checkout", *names),
        subscriber("fulfilment", *names),
        elsewhere,
    )
    assert waits_for(cluster)[0] == "Revoking"


def test_rule_that_another_policy_suspends_is_not_waited_for() -> None:
    """Whether the rule is wanted is undecided, and the other policy keeps it in the ledger."""
    names = ("orders", "same")
    cluster = deleted(
        publisher("checkout", *names), subscriber("fulfilment", *names), orders("same")
    )
    cluster.put(publisher("rival", "none", account="checkout"))
    cluster.put(subscriber("other-rival", "none", account="fulfilment"))
    assert let_go(cluster) == ""


# Retain

ALLOWING = broker(retention="Allow")


def test_retained_rules_are_recorded_before_the_policy_is_released() -> None:
    cluster = deleted(orders(onDelete="Retain"), ALLOWING)
    assert waits_for(cluster)[0] == "Retaining"
    before = ledger_of(cluster)
    after = sync_broker(cluster)
    assert (after.rules, after.retained) == (before.rules, before.rules)
    assert let_go(cluster) == ""
    assert is_gone(cluster)
    assert sync_broker(cluster).rules == before.rules


def test_rule_of_another_policy_is_not_recorded_as_retained() -> None:
    names = ("orders", "same")
    cluster = deleted(
        publisher("checkout", *names),
        subscriber("fulfilment", *names),
        orders("same"),
        orders(onDelete="Retain"),
        ALLOWING,
    )
    assert not sync_broker(cluster).retained
    assert let_go(cluster) == ""


def test_retained_rules_end_if_the_owner_does_not_allow_them() -> None:
    cluster = deleted(orders(onDelete="Retain"))
    assert waits_for(cluster)[0] == "Revoking"
    assert sync_broker(cluster).rules == frozenset()
    assert let_go(cluster) == ""


EVICTIONS: dict[str, Manifest] = {
    "the namespace is not admitted": broker(
        retention="Allow", allowedNamespaces={"matchLabels": {"domain": "elsewhere"}}
    ),
    "its names are not owned": broker(retention="Allow", owns=["other."], groups=["other"]),
    "retention is denied": broker(),
}


@pytest.mark.parametrize("evicting", EVICTIONS.values(), ids=list(EVICTIONS))
def test_retained_grant_ends_with_the_eviction_by_the_brokers_owner(evicting: Manifest) -> None:
    cluster = deleted(orders(onDelete="Retain"), ALLOWING)
    kept = sync_broker(cluster)
    let_go(cluster)
    assert sync_broker(cluster).retained == kept.rules
    cluster.put(evicting)
    after = sync_broker(cluster)
    assert (after.rules, after.retained) == (frozenset(), frozenset())


def test_relabelled_namespace_ends_its_retained_grants() -> None:
    cluster = deleted(orders(onDelete="Retain"), ALLOWING)
    sync_broker(cluster)
    let_go(cluster)
    cluster.drop("TopicPolicy", ORDERS)
    changed_ = cluster.put(namespace("shop", domain="elsewhere"))
    assert {broker_key(MAIN), identity_key(CHECKOUT)} <= changed_
    assert sync_broker(cluster).rules == frozenset()


def test_group_that_the_broker_no_longer_owns_is_not_retained() -> None:
    cluster = deleted(orders(onDelete="Retain"), ALLOWING)
    sync_broker(cluster)
    let_go(cluster)
    cluster.put(broker(retention="Allow", groups=["other"]))
    assert {rule.kind for rule in sync_broker(cluster).rules} == {"TOPIC"}


def test_policy_says_that_the_owner_denies_retention() -> None:
    for there, status in ((broker(), "False"), (ALLOWING, "True")):
        plan = market(orders(onDelete="Retain"), there).plan(policy_key(ORDERS))
        assert plan.status is not None
        found = {each["type"]: each["status"] for each in plan.status["conditions"]}
        assert found["RetentionAllowed"] == status
    plan = market(orders()).plan(policy_key(ORDERS))
    assert plan.status is not None
    assert "RetentionAllowed" not in {each["type"] for each in plan.status["conditions"]}


def test_rule_that_was_retained_before_is_not_waited_for() -> None:
    """An earlier policy granted the same rule and retained it."""
    cluster = deleted()
    ledger = ledger_of(cluster)
    keep_ledger(cluster, replace(ledger, retained=ledger.rules))
    assert let_go(cluster) == ""


# Failed revocation


def test_unreachable_broker_is_waited_for_ten_minutes() -> None:
    cluster = deleted()
    lose_sight(cluster)
    reason, message = waits_for(cluster)
    assert reason == "BrokerUnreachable"
    assert DOWN.message in message
    cluster.now += PATIENCE - SECOND
    assert waits_for(cluster)[0] == "BrokerUnreachable"
    assert cluster.plan(KEY).due == cluster.now + SECOND
    cluster.now += SECOND
    warning = let_go(cluster)
    assert DOWN.message in warning
    assert "revokes them afterwards: Publish prod.orders.v1 by shop/checkout, Consume" in warning
    plan = cluster.plan(KEY)
    notice = repair(plan.steps[0], plan)
    assert notice is not None
    assert (notice.type, notice.note) == ("Warning", warning)
    assert is_gone(cluster)
    assert ledger_of(cluster).rules, "it is revoked when the broker is back"


def test_unobserved_broker_is_waited_for_without_limit() -> None:
    """The operator was down for an hour, which is no reason to leave grants behind."""
    cluster = deleted()
    cluster.world.brokers.forget_observation(MAIN)
    cluster.now += 6 * PATIENCE
    assert waits_for(cluster)[0] == "Revoking"


def test_unreachable_broker_does_not_hold_a_policy_without_grants() -> None:
    cluster = deleted()
    sync_broker(cluster)
    lose_sight(cluster)
    assert let_go(cluster) == ""


def test_grants_without_a_ledger_are_left_and_reported_at_once() -> None:
    cluster = deleted()
    lose_ledger(cluster)
    warning = let_go(cluster)
    assert "the ledger of MessageBroker messaging/main is lost" in warning
    assert "remove these yourself: Publish prod.orders.v1 by shop/checkout" in warning


def test_broker_without_ledger_and_grants_causes_no_warning() -> None:
    cluster = market()
    cluster.visit(KEY)
    cluster.delete("TopicPolicy", ORDERS)
    assert let_go(cluster) == ""


def test_unreadable_ledger_is_waited_for_as_long_as_a_broker() -> None:
    cluster = deleted()
    spoilt = ledger_manifest(OWN, declared_at(cluster), Ledger())
    cluster.put({**spoilt, "binaryData": {FILE: "AAAA"}})
    assert waits_for(cluster)[0] == "LedgerUnreadable"
    cluster.now += PATIENCE
    assert "everything that shop/checkout, shop/fulfilment has" in let_go(cluster)


def test_observed_broker_is_not_waited_for_and_its_grants_are_reported() -> None:
    cluster = deleted()
    cluster.put(broker(mode="Observe"))
    assert "Publish prod.orders.v1 by shop/checkout" in let_go(cluster)


def test_deleted_broker_is_not_waited_for() -> None:
    cluster = deleted()
    cluster.drop("MessageBroker", MAIN)
    assert let_go(cluster) == ""


def test_terminating_broker_is_waited_for() -> None:
    cluster = market()
    held = {**broker(), "metadata": {**broker()["metadata"], "finalizers": [FINALIZER]}}
    cluster.put(held)
    give_credentials(cluster, CHECKOUT, FULFILMENT)
    cluster.visit(KEY)
    sync_broker(cluster)
    cluster.delete("MessageBroker", MAIN)
    cluster.delete("TopicPolicy", ORDERS)
    assert waits_for(cluster)[0] == "Revoking"
    lose_ledger(cluster)  # as the broker's plan does last
    assert let_go(cluster) == ""


def test_unreadable_broker_with_grants_is_waited_for() -> None:
    cluster = deleted()
    cluster.put({**broker(), "spec": {}})
    assert waits_for(cluster)[0] == "BrokerInvalid"
    cluster.now += PATIENCE
    assert "everything that shop/checkout, shop/fulfilment has" in let_go(cluster)


def test_unreadable_broker_without_grants_is_not_waited_for() -> None:
    cluster = market()
    cluster.visit(KEY)
    cluster.delete("TopicPolicy", ORDERS)
    cluster.put({**broker(), "spec": {}})
    assert let_go(cluster) == ""


def test_broker_that_changed_to_an_unsupported_type_is_not_waited_for() -> None:
    cluster = deleted()
    described = {"valkey": {"servers": ["valkey:6379"], "adminSecretRef": {"name": "a"}}}
    cluster.put(broker(described=described))
    assert let_go(cluster) == ""


def test_braked_removals_are_waited_for_and_reported() -> None:
    """Policies that were deleted by mistake can be created again once the old ones are gone."""
    cluster = deleted()
    braked = {"type": "Braked", "status": "True", "reason": "TooManyRemovals", "message": ""}
    braked["lastTransitionTime"] = builders.stamp(cluster.now)
    affected = cluster.put({**broker(), "status": {"conditions": [braked]}})
    assert KEY in affected, "the brake is told in the broker's status"
    assert waits_for(cluster)[0] == "Braked"
    assert cluster.condition(KEY, "Stalled")["status"] == "True"
    cluster.now += PATIENCE
    assert "Publish prod.orders.v1 by shop/checkout" in let_go(cluster)


def test_rule_that_an_unreadable_policy_may_grant_is_not_revoked_meanwhile() -> None:
    names = ("orders", "other")
    unreadable = {**policy("other"), "spec": {}}
    cluster = deleted(publisher("checkout", *names), subscriber("fulfilment", *names), unreadable)
    before = ledger_of(cluster)
    assert sync_broker(cluster).rules == before.rules
    reason, message = waits_for(cluster)
    assert reason == "PolicyInvalid"
    assert "correct that TopicPolicy" in message
    cluster.now += PATIENCE
    assert "Publish prod.orders.v1 by shop/checkout" in let_go(cluster)


def test_credential_that_an_unreadable_policy_may_need_is_not_waited_for() -> None:
    names = ("orders", "other")
    unreadable = {**policy("other"), "spec": {}}
    cluster = deleted(publisher("checkout", *names), subscriber("fulfilment", *names), unreadable)
    keep_ledger(cluster, replace(ledger_of(cluster), rules=frozenset()))
    assert let_go(cluster) == ""


def test_unreadable_policy_can_be_deleted() -> None:
    """It declares nothing any more, and the ledger has what it granted."""
    cluster = deleted()
    stored = cluster.objects["TopicPolicy", ORDERS]
    cluster.put({**stored, "spec": {}})
    assert let_go(cluster) == ""
    assert is_gone(cluster)
    assert not sync_broker(cluster).rules


@pytest.mark.parametrize("held", [True, False])
def test_policy_without_the_finalizer_is_not_planned(held: bool) -> None:
    described = orders()
    described["metadata"] |= {
        "deletionTimestamp": builders.stamp(builders.NOW),
        "finalizers": ["example.com/backup"] if held else [],
    }
    plan = market(described).plan(KEY)
    assert not plan.steps
    assert (plan.status is not None) is held


def test_policy_without_grants_leaves_nothing() -> None:
    cluster = deleted()
    stranger = policy("stranger", producers=[producer("nobody")])
    view = gather_deletion(TopicPolicy.parse(stranger), Reader(cluster.world), cluster.now)
    assert left_of(view) is None
