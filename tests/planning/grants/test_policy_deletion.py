"""The end of a policy: it is there until nothing of it is left at its broker, and not for ever.

Whatever is left then is said, and the broker's ledger has it until it can be revoked.
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
    tell,
)
from tests.builders import OWN, Cluster, Manifest
from tests.messaging import broker, policy, producer
from troth.planning.brokers.finalizer import FINALIZER, PATIENCE
from troth.planning.grants.policy_deletion import left_of
from troth.planning.steps.objects import SetFinalizers
from troth.reconcile.events.events import repair
from troth.resources.messaging.topic_policy import TopicPolicy
from troth.resources.references import Ref
from troth.trust.grants import Slot
from troth.world.facts.broker import Ledger
from troth.world.keys import policy_key
from troth.world.observation.ledger import FILE, ledger_manifest
from troth.world.outcomes.writes import WriteRefused

KEY = policy_key(ORDERS)
SAME = Ref("shop", "same")
SECOND = timedelta(seconds=1)


def deleted(*manifests: Manifest) -> Cluster:
    """A market in which all was in place when the policy `orders` was deleted."""
    cluster = market(*manifests)
    give_credentials(cluster, CHECKOUT, FULFILMENT)
    for _ in ("each is held", "each has said what the broker has"):
        for key in [key for key in cluster.keys() if key.kind == "TopicPolicy"]:  # noqa: SIM118
            cluster.visit(key)
        tell(cluster)
    cluster.delete("TopicPolicy", ORDERS)
    return cluster


def waits_for(cluster: Cluster) -> tuple[str, str]:
    """The reason and the sentence of a policy that is being deleted."""
    plan = cluster.plan(KEY)
    assert not plan.steps, "it is let go"
    assert plan.status is not None
    ready = next(each for each in plan.status["conditions"] if each["type"] == "Ready")
    assert ready["status"] == "False"
    return ready["reason"], ready["message"]


def let_go(cluster: Cluster) -> str:
    """What is said of a policy that is let go: what is left behind."""
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


def test_it_waits_until_what_it_granted_is_revoked() -> None:
    cluster = deleted()
    assert waits_for(cluster) == (
        "Revoking",
        "Troth is revoking the grants at MessageBroker messaging/main",
    )
    assert cluster.condition(KEY, "Reconciling")["status"] == "True"
    ledger = tell(cluster)
    assert not ledger.rules
    assert let_go(cluster) == ""
    assert is_gone(cluster)


def test_it_is_planned_the_same_again_while_it_waits() -> None:
    cluster = deleted()
    cluster.visit(KEY)
    plan = cluster.plan(KEY)
    assert plan.status == plan.previous_status


def test_it_waits_for_the_credentials_of_whom_nothing_is_left() -> None:
    """The rules alone would leave somebody who can still connect."""
    cluster = deleted()
    keep_ledger(cluster, replace(ledger_of(cluster), rules=frozenset()))
    assert waits_for(cluster)[0] == "Revoking"
    keep_ledger(cluster, Ledger())
    assert let_go(cluster) == ""


def test_the_credential_of_whoever_has_another_grant_is_not_waited_for() -> None:
    other = policy("other", topic={"name": "prod.other"}, producers=[producer("checkout")])
    cluster = deleted(publisher("checkout", "orders", "other"), other)
    ledger = tell(cluster)
    assert (PUBLISHER, Slot.FIRST) in ledger.credentials
    assert let_go(cluster) == ""


def test_the_finalizers_of_others_stay_and_are_named() -> None:
    described = orders()
    described["metadata"]["finalizers"] = ["example.com/backup"]
    cluster = deleted(described)
    tell(cluster)
    assert not is_gone(cluster)
    stored = cluster.objects["TopicPolicy", ORDERS]
    assert stored["metadata"]["finalizers"] == ["example.com/backup"]
    reason, message = waits_for(cluster)
    assert reason == "Deleting"
    assert "example.com/backup" in message


def test_it_waits_in_a_namespace_that_is_being_deleted_too() -> None:
    cluster = deleted()
    going = builders.namespace("shop", domain="production")
    going["metadata"]["deletionTimestamp"] = builders.stamp(cluster.now)
    cluster.put(going)
    assert waits_for(cluster)[0] == "Revoking"
    tell(cluster)
    assert is_gone(cluster)


def test_it_waits_for_an_identity_that_is_deleted_with_it() -> None:
    cluster = deleted()
    cluster.drop("ServiceIdentity", CHECKOUT)
    cluster.drop("ServiceIdentity", FULFILMENT)
    assert waits_for(cluster)[0] == "Revoking"
    tell(cluster)
    assert is_gone(cluster)


def test_a_finalizer_that_cannot_be_taken_off_is_said() -> None:
    cluster = deleted()
    tell(cluster)
    cluster.world.observe_outcome(
        WriteRefused(
            "TopicPolicy", ORDERS, "TopicPolicy shop/orders cannot be written: no", passing=False
        )
    )
    assert cluster.plan(KEY).steps
    assert cluster.condition(KEY, "Ready")["reason"] == "WriteRefused"


# Two policies that grant the same


def test_what_another_policy_grants_as_well_is_not_waited_for() -> None:
    names = ("orders", "same")
    cluster = deleted(
        publisher("checkout", *names), subscriber("fulfilment", *names), orders("same")
    )
    before = ledger_of(cluster)
    assert let_go(cluster) == ""
    assert is_gone(cluster)
    assert tell(cluster).rules == before.rules


def test_a_policy_that_comes_to_grant_the_same_meanwhile_ends_the_waiting() -> None:
    """Nothing changes at the broker then, so that nobody is told of anything."""
    names = ("orders", "same")
    cluster = deleted(publisher("checkout", *names), subscriber("fulfilment", *names))
    assert waits_for(cluster)[0] == "Revoking"
    assert KEY in cluster.put(orders("same"))
    assert let_go(cluster) == ""


def test_two_policies_that_are_deleted_do_not_hide_behind_each_other() -> None:
    names = ("orders", "same")
    cluster = deleted(
        publisher("checkout", *names), subscriber("fulfilment", *names), orders("same")
    )
    cluster.visit(policy_key(SAME))
    cluster.delete("TopicPolicy", SAME)
    assert waits_for(cluster)[0] == "Revoking"


def test_a_policy_of_another_broker_does_not_stand_in_for_it() -> None:
    elsewhere = orders("same", brokerRef={"name": "second", "namespace": "messaging"})
    names = ("orders", "same")
    cluster = deleted(
        broker("second", principals="troth-"),
        publisher("checkout", *names),
        subscriber("fulfilment", *names),
        elsewhere,
    )
    assert waits_for(cluster)[0] == "Revoking"


def test_what_is_suspended_by_another_policy_is_that_ones() -> None:
    """Nobody can tell whether it should be there, and the other one keeps it in the ledger."""
    names = ("orders", "same")
    cluster = deleted(
        publisher("checkout", *names), subscriber("fulfilment", *names), orders("same")
    )
    cluster.put(publisher("rival", "none", account="checkout"))
    cluster.put(subscriber("other-rival", "none", account="fulfilment"))
    assert let_go(cluster) == ""


# Retain


def test_what_is_retained_is_noted_before_it_goes() -> None:
    cluster = deleted(orders(onDelete="Retain"))
    assert waits_for(cluster)[0] == "Retaining"
    before = ledger_of(cluster)
    after = tell(cluster)
    assert (after.rules, after.retained) == (before.rules, before.rules)
    assert let_go(cluster) == ""
    assert is_gone(cluster)
    assert tell(cluster).rules == before.rules


def test_what_another_policy_asks_for_anyway_need_not_be_noted() -> None:
    names = ("orders", "same")
    cluster = deleted(
        publisher("checkout", *names),
        subscriber("fulfilment", *names),
        orders("same"),
        orders(onDelete="Retain"),
    )
    assert not tell(cluster).retained
    assert let_go(cluster) == ""


def test_what_was_retained_before_is_not_waited_for() -> None:
    """An earlier policy granted the same and asked for it to stay."""
    cluster = deleted()
    ledger = ledger_of(cluster)
    keep_ledger(cluster, replace(ledger, retained=ledger.rules))
    assert let_go(cluster) == ""


# Where it cannot be revoked


def test_a_broker_that_is_down_is_waited_for_ten_minutes_and_no_longer() -> None:
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


def test_a_broker_that_was_not_asked_yet_is_waited_for_however_late_it_is() -> None:
    """The operator was away for an hour: that is no reason to leave anything behind."""
    cluster = deleted()
    cluster.world.brokers.forget_observation(MAIN)
    cluster.now += 6 * PATIENCE
    assert waits_for(cluster)[0] == "Revoking"


def test_a_broker_that_is_down_keeps_nobody_of_whom_nothing_is_left() -> None:
    cluster = deleted()
    tell(cluster)
    lose_sight(cluster)
    assert let_go(cluster) == ""


def test_without_a_ledger_nothing_is_removed_and_that_is_said_at_once() -> None:
    cluster = deleted()
    lose_ledger(cluster)
    warning = let_go(cluster)
    assert "the ledger of MessageBroker messaging/main is lost" in warning
    assert "remove these yourself: Publish prod.orders.v1 by shop/checkout" in warning


def test_without_a_ledger_nothing_is_said_of_a_broker_that_has_nothing() -> None:
    cluster = market()
    cluster.visit(KEY)
    cluster.delete("TopicPolicy", ORDERS)
    assert let_go(cluster) == ""


def test_a_ledger_that_cannot_be_read_is_waited_for_as_a_broker_is() -> None:
    cluster = deleted()
    spoilt = ledger_manifest(OWN, declared_at(cluster), Ledger())
    cluster.put({**spoilt, "binaryData": {FILE: "AAAA"}})
    assert waits_for(cluster)[0] == "LedgerUnreadable"
    cluster.now += PATIENCE
    assert "everything that shop/checkout, shop/fulfilment has" in let_go(cluster)


def test_a_broker_that_only_observes_is_not_waited_for_and_says_what_stays() -> None:
    cluster = deleted()
    cluster.put(broker(mode="Observe"))
    assert "Publish prod.orders.v1 by shop/checkout" in let_go(cluster)


def test_a_broker_that_is_gone_is_not_waited_for() -> None:
    cluster = deleted()
    cluster.drop("MessageBroker", MAIN)
    assert let_go(cluster) == ""


def test_a_broker_that_is_being_deleted_is_waited_for() -> None:
    cluster = market()
    held = {**broker(), "metadata": {**broker()["metadata"], "finalizers": [FINALIZER]}}
    cluster.put(held)
    give_credentials(cluster, CHECKOUT, FULFILMENT)
    cluster.visit(KEY)
    tell(cluster)
    cluster.delete("MessageBroker", MAIN)
    cluster.delete("TopicPolicy", ORDERS)
    assert waits_for(cluster)[0] == "Revoking"
    lose_ledger(cluster)  # as its own plan does at its end
    assert let_go(cluster) == ""


def test_a_broker_that_cannot_be_read_is_waited_for_where_anything_was_made() -> None:
    cluster = deleted()
    cluster.put({**broker(), "spec": {}})
    assert waits_for(cluster)[0] == "BrokerInvalid"
    cluster.now += PATIENCE
    assert "everything that shop/checkout, shop/fulfilment has" in let_go(cluster)


def test_a_broker_that_cannot_be_read_and_was_told_nothing_is_not_waited_for() -> None:
    cluster = market()
    cluster.visit(KEY)
    cluster.delete("TopicPolicy", ORDERS)
    cluster.put({**broker(), "spec": {}})
    assert let_go(cluster) == ""


def test_a_broker_of_a_type_that_is_not_served_any_more_is_not_waited_for() -> None:
    cluster = deleted()
    described = {"valkey": {"servers": ["valkey:6379"], "adminSecretRef": {"name": "a"}}}
    cluster.put(broker(described=described))
    assert let_go(cluster) == ""


def test_a_brake_is_waited_for_and_told() -> None:
    """Policies that were pruned by mistake can be written anew once the old ones are gone."""
    cluster = deleted()
    braked = {"type": "Braked", "status": "True", "reason": "TooManyRemovals", "message": ""}
    braked["lastTransitionTime"] = builders.stamp(cluster.now)
    affected = cluster.put({**broker(), "status": {"conditions": [braked]}})
    assert KEY in affected, "the brake is told in the broker's status"
    assert waits_for(cluster)[0] == "Braked"
    assert cluster.condition(KEY, "Stalled")["status"] == "True"
    cluster.now += PATIENCE
    assert "Publish prod.orders.v1 by shop/checkout" in let_go(cluster)


def test_what_a_policy_that_cannot_be_read_may_grant_as_well_is_not_revoked_meanwhile() -> None:
    names = ("orders", "other")
    unreadable = {**policy("other"), "spec": {}}
    cluster = deleted(publisher("checkout", *names), subscriber("fulfilment", *names), unreadable)
    before = ledger_of(cluster)
    assert tell(cluster).rules == before.rules
    reason, message = waits_for(cluster)
    assert reason == "PolicyInvalid"
    assert "correct that TopicPolicy" in message
    cluster.now += PATIENCE
    assert "Publish prod.orders.v1 by shop/checkout" in let_go(cluster)


def test_a_credential_that_a_policy_that_cannot_be_read_may_need_is_not_waited_for() -> None:
    names = ("orders", "other")
    unreadable = {**policy("other"), "spec": {}}
    cluster = deleted(publisher("checkout", *names), subscriber("fulfilment", *names), unreadable)
    keep_ledger(cluster, replace(ledger_of(cluster), rules=frozenset()))
    assert let_go(cluster) == ""


def test_a_policy_that_cannot_be_read_itself_goes_when_it_is_deleted() -> None:
    """Nobody asks for anything by it any more, and the ledger has what it granted."""
    cluster = deleted()
    stored = cluster.objects["TopicPolicy", ORDERS]
    cluster.put({**stored, "spec": {}})
    assert let_go(cluster) == ""
    assert is_gone(cluster)
    assert not tell(cluster).rules


@pytest.mark.parametrize("held", [True, False])
def test_one_that_is_not_held_is_nobodys_concern(held: bool) -> None:
    described = orders()
    described["metadata"] |= {
        "deletionTimestamp": builders.stamp(builders.NOW),
        "finalizers": ["example.com/backup"] if held else [],
    }
    plan = market(described).plan(KEY)
    assert not plan.steps
    assert (plan.status is not None) is held


def test_what_is_left_is_nothing_for_a_policy_that_granted_nothing() -> None:
    cluster = deleted()
    stranger = policy("stranger", producers=[producer("nobody")])
    assert left_of(TopicPolicy.parse(stranger), cluster.world) is None
