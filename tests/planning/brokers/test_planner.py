"""Plans of a broker in situations that a real broker cannot be brought into at will."""

from dataclasses import replace
from datetime import timedelta

from tests.broker_builders import (
    CHECKOUT,
    FULFILMENT,
    MAIN,
    give_credentials,
    keep_ledger,
    lose_ledger,
    market,
    sync_broker,
)
from tests.builders import OWN, Cluster, at, stamp
from troth.planning.grants.finalizer import FINALIZER
from troth.planning.plan import Plan
from troth.planning.planner import plan
from troth.planning.steps.brokers import ChangeBroker, ObserveBroker
from troth.planning.steps.objects import RemoveLedger, SetFinalizers
from troth.trust.grants import Place, Rule
from troth.world.facts.broker import Ledger
from troth.world.keys import broker_key
from troth.world.observation.ledger import ledger_ref
from troth.world.outcomes.writes import WriteRefused


def deleted() -> Cluster:
    """Return a cluster whose broker had every grant and is being deleted."""
    cluster = market().settle()
    give_credentials(cluster, CHECKOUT, FULFILMENT)
    sync_broker(cluster)
    stored = cluster.objects["MessageBroker", MAIN]
    metadata = {
        **stored["metadata"],
        "finalizers": [FINALIZER],
        "deletionTimestamp": stamp(cluster.now),
    }
    cluster.put({**stored, "metadata": metadata})
    look = cluster.world.brokers.observation(MAIN)
    cluster.world.brokers.note_observation(MAIN, replace(look, at=0.0, tried_at=0.0))
    return cluster


def planned(cluster: Cluster, after: timedelta) -> Plan:
    return plan(broker_key(MAIN), cluster.world, at(cluster.now + after))


def released_after_its_ledger(cluster: Cluster, after: timedelta) -> str:
    """Remove the ledger and let the broker go, as planned; return the warning about it."""
    (ledger,) = planned(cluster, after).steps
    assert isinstance(ledger, RemoveLedger)
    cluster.drop(ledger.kind, ledger.ref)
    (let_go,) = planned(cluster, after).steps
    assert isinstance(let_go, SetFinalizers)
    assert (let_go.finalizers, let_go.warning) == ((), "")
    return ledger.warning


def observed(cluster: Cluster) -> Cluster:
    """Declare that Troth may not change the broker that is being deleted."""
    stored = cluster.objects["MessageBroker", MAIN]
    cluster.put({**stored, "spec": {**stored["spec"], "mode": "Observe"}})
    return cluster


def test_broker_keeps_its_finalizer_until_its_ledger_is_gone() -> None:
    """Without its broker, nothing would remove the ledger any more."""
    cluster = observed(deleted())
    ledger = ledger_ref(OWN, MAIN)
    refused = WriteRefused("ConfigMap", ledger, "ConfigMap cannot be deleted: no", passing=False)
    cluster.world.observe_outcome(refused)
    held = planned(cluster, timedelta(minutes=20))
    assert [type(step) for step in held.steps] == [RemoveLedger]
    assert held.status is not None
    ready = next(each for each in held.status["conditions"] if each["type"] == "Ready")
    assert (ready["reason"], ready["message"]) == ("WriteRefused", refused.why)
    assert "because mode is Observe" in released_after_its_ledger(cluster, timedelta(0))


def test_broker_does_not_wait_for_the_finalizers_of_its_ledger() -> None:
    cluster = observed(deleted())
    place = "ConfigMap", ledger_ref(OWN, MAIN)
    stored = cluster.objects[place]
    leaving = {"deletionTimestamp": stamp(cluster.now), "finalizers": ["example.com/backup"]}
    cluster.put({**stored, "metadata": {**stored["metadata"], **leaving}})
    (let_go,) = planned(cluster, timedelta(0)).steps
    assert isinstance(let_go, SetFinalizers)
    assert "because mode is Observe" in let_go.warning  # no removal of the ledger has said so


def test_unreadable_broker_says_why_its_ledger_stays() -> None:
    cluster = unread(deleted())
    refused = WriteRefused("ConfigMap", ledger_ref(OWN, MAIN), "a policy denies it", passing=False)
    cluster.world.observe_outcome(refused)
    held = planned(cluster, timedelta(minutes=10))
    assert [type(step) for step in held.steps] == [RemoveLedger]
    assert held.status is not None
    ready = next(each for each in held.status["conditions"] if each["type"] == "Ready")
    assert ready["reason"] == "InvalidSpec"
    assert "Its deletion cannot end: a policy denies it" in ready["message"]


def test_broker_that_refuses_revocation_is_released_after_ten_minutes() -> None:
    cluster = deleted()
    (step,) = planned(cluster, timedelta(0)).steps
    assert isinstance(step, ChangeBroker)
    look = cluster.world.brokers.observation(MAIN)
    refused: dict[Rule | Place, str] = dict.fromkeys((*step.removals, *step.revocations), "no")
    cluster.world.brokers.note_observation(MAIN, replace(look, failures=refused).tried(0.0))
    assert planned(cluster, timedelta(minutes=9)).steps == ()
    warning = released_after_its_ledger(cluster, timedelta(minutes=10))
    assert "did not make every change" in warning
    assert "troth-shop.checkout, troth-shop.fulfilment" in warning


def test_removed_finalizer_of_a_broker_is_restored() -> None:
    cluster = market().settle()
    give_credentials(cluster, CHECKOUT, FULFILMENT)
    sync_broker(cluster)
    stored = cluster.objects["MessageBroker", MAIN]
    held = {**stored["metadata"], "finalizers": [FINALIZER]}
    cluster.put({**stored, "metadata": held})
    assert planned(cluster, timedelta(0)).steps == ()
    cluster.put({**stored, "metadata": {**held, "finalizers": []}})
    (step,) = planned(cluster, timedelta(0)).steps
    assert isinstance(step, SetFinalizers)
    assert step.finalizers == (FINALIZER,)


def test_restarted_operator_keeps_the_status_until_it_has_observed() -> None:
    """Otherwise every restart would write each broker's status twice and create Events."""
    cluster = market().settle()
    give_credentials(cluster, CHECKOUT, FULFILMENT)
    sync_broker(cluster)
    stored = cluster.objects["MessageBroker", MAIN]
    said = planned(cluster, timedelta(0)).status
    cluster.put({**stored, "status": said})
    cluster.world.brokers.forget_observation(MAIN)
    begun = planned(cluster, timedelta(0))
    assert begun.status == begun.previous_status == said
    assert [type(step) for step in begun.steps] == [ObserveBroker]


def test_changed_broker_is_not_judged_before_it_is_observed() -> None:
    cluster = market().settle()
    give_credentials(cluster, CHECKOUT, FULFILMENT)
    sync_broker(cluster)
    stored = cluster.objects["MessageBroker", MAIN]
    status = planned(cluster, timedelta(0)).status
    cluster.put({**stored, "status": status, "spec": {**stored["spec"], "driftCheck": "30s"}})
    cluster.world.brokers.forget_observation(MAIN)
    told = planned(cluster, timedelta(0)).status
    assert told is not None
    assert "NotSeenYet" in [each["reason"] for each in told["conditions"]]


def unread(cluster: Cluster) -> Cluster:
    """Store the deleted broker as a newer version might."""
    stored = cluster.objects["MessageBroker", MAIN]
    cluster.put({**stored, "spec": {"unheardOf": 1}})
    return cluster


def test_unreadable_broker_with_grants_is_released_after_ten_minutes() -> None:
    cluster = unread(deleted())
    waiting = planned(cluster, timedelta(minutes=9))
    assert waiting.steps == ()
    assert waiting.due == cluster.now + timedelta(minutes=10)
    assert waiting.status is not None
    ready = next(each for each in waiting.status["conditions"] if each["type"] == "Ready")
    assert ready["reason"] == "InvalidSpec"
    assert "at most 10 minutes" in ready["message"]
    warning = released_after_its_ledger(cluster, timedelta(minutes=10))
    assert "troth-shop.checkout, troth-shop.fulfilment" in warning


def test_unreadable_broker_without_grants_is_released_at_once() -> None:
    cluster = deleted()
    keep_ledger(cluster, Ledger())
    assert released_after_its_ledger(unread(cluster), timedelta(0)) == ""


def test_unreadable_broker_without_a_ledger_is_released_at_once() -> None:
    cluster = deleted()
    lose_ledger(cluster)
    (let_go,) = planned(unread(cluster), timedelta(0)).steps
    assert isinstance(let_go, SetFinalizers)


def test_unreadable_broker_keeps_the_finalizers_of_others() -> None:
    cluster = deleted()
    lose_ledger(cluster)
    stored = cluster.objects["MessageBroker", MAIN]
    stored["metadata"]["finalizers"] = [FINALIZER, "example.com/backup"]
    (let_go,) = planned(unread(cluster), timedelta(0)).steps
    assert isinstance(let_go, SetFinalizers)
    assert let_go.finalizers == ("example.com/backup",)


def test_unreadable_broker_that_is_not_deleted_keeps_its_finalizer() -> None:
    cluster = market().settle()
    stored = cluster.objects["MessageBroker", MAIN]
    held = {**stored["metadata"], "finalizers": [FINALIZER]}
    cluster.put({**stored, "metadata": held, "spec": {}})
    assert planned(cluster, timedelta(hours=1)).steps == ()
