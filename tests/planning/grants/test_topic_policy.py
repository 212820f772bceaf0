"""The plan of a policy: which grants its broker is known to have, and what it says of the others.

Nothing is called in sync that the ledger, the broker and the identity's Secret do not all show.
"""

from dataclasses import replace

import pytest

from tests import builders, messaging
from tests.broker_builders import (
    CHECKOUT,
    CONSUMER,
    FULFILMENT,
    MAIN,
    ORDERS,
    PUBLISHER,
    credential,
    declared_at,
    give_credentials,
    keep_ledger,
    ledger_of,
    lose_ledger,
    lose_sight,
    market,
    orders,
    publisher,
    see,
    subscriber,
    tell,
)
from tests.builders import OWN, Cluster, Manifest, identity
from tests.messaging import broker, consumer, producer
from troth.planning.brokers.finalizer import FINALIZER
from troth.planning.grants.status import GRANT_LIMIT
from troth.planning.steps.objects import SetFinalizers
from troth.resources.references import Ref
from troth.trust.grants import Rule, Slot
from troth.world.facts.broker import BrokerObservation, Ledger
from troth.world.keys import broker_key, policy_key
from troth.world.observation.ledger import FILE, ledger_manifest
from troth.world.outcomes.writes import WriteRefused

KEY = policy_key(ORDERS)
WRITE = Rule(PUBLISHER, "TOPIC", "LITERAL", "prod.orders.v1", "WRITE", host="*")


def told(*manifests: Manifest) -> Cluster:
    """A market whose broker has been told everything, and whose policy has said so."""
    cluster = market(*manifests)
    give_credentials(cluster, CHECKOUT, FULFILMENT)
    cluster.visit(KEY)
    tell(cluster)
    cluster.visit(KEY)
    return cluster


def entries(cluster: Cluster) -> list[Manifest]:
    status = cluster.plan(KEY).status
    assert status is not None
    found: list[Manifest] = status["grants"]
    return found


def entry(cluster: Cluster, who: Ref = CHECKOUT) -> tuple[str, str | None]:
    """The state and the reason of an identity's first grant."""
    found = next(each for each in entries(cluster) if each["identity"] == str(who))
    return found["state"], found.get("reason")


def verdicts(cluster: Cluster) -> dict[str, tuple[str, str]]:
    status = cluster.plan(KEY).status
    assert status is not None
    return {each["type"]: (each["status"], each["reason"]) for each in status["conditions"]}


IN_SYNC = ("InSync", None)
AWAITED = ("Live", "AwaitingBroker")


# What the broker has


def test_a_grant_is_in_sync_once_the_broker_has_it() -> None:
    cluster = told()
    assert entries(cluster) == [
        {"identity": "shop/checkout", "action": "Publish", "state": "InSync"},
        {
            "identity": "shop/fulfilment",
            "action": "Consume",
            "group": "fulfilment",
            "state": "InSync",
        },
    ]
    assert verdicts(cluster) == {
        "Ready": ("True", "InPlace"),
        "Reconciling": ("False", "Settled"),
        "Stalled": ("False", "Settled"),
        "GrantsInSync": ("True", "AllInSync"),
        "PeersAgree": ("True", "AllAgree"),
    }


def test_what_is_in_step_is_planned_the_same_again() -> None:
    plan = told().plan(KEY)
    assert plan.status == plan.previous_status
    assert not plan.steps
    assert plan.due is None


def test_it_waits_for_the_credential_and_then_for_the_broker() -> None:
    cluster = market()
    assert entry(cluster) == ("Live", "AwaitingCredential")
    give_credentials(cluster, CHECKOUT)
    assert entry(cluster) == AWAITED
    assert entry(cluster, FULFILMENT) == ("Live", "AwaitingCredential")
    assert verdicts(cluster)["Reconciling"] == ("True", "AwaitingBroker")


@pytest.mark.parametrize("lacking", ["the rule", "the credential", "everything"])
def test_what_the_broker_does_not_show_is_not_in_sync(lacking: str) -> None:
    """A restart of Kafka can lose every credential, whatever the ledger says."""
    cluster = told()
    ledger = ledger_of(cluster)
    rules, credentials = ledger.rules, set(ledger.credentials)
    if lacking != "the credential":
        rules = frozenset(each for each in rules if each.principal != PUBLISHER)
    if lacking != "the rule":
        credentials = {each for each in credentials if each[0] != PUBLISHER}
    see(cluster, rules, credentials)
    assert entry(cluster) == AWAITED
    assert entry(cluster, FULFILMENT) == IN_SYNC


@pytest.mark.parametrize("lacking", ["the rule", "the credential", "its fingerprint"])
def test_what_the_ledger_does_not_have_is_not_in_sync(lacking: str) -> None:
    """Something at the broker that Troth did not make is not what was declared."""
    cluster = told()
    ledger, place = ledger_of(cluster), (PUBLISHER, Slot.FIRST)
    changed = {
        "the rule": replace(ledger, rules=ledger.rules - {WRITE}),
        "the credential": replace(
            ledger, credentials={k: v for k, v in ledger.credentials.items() if k != place}
        ),
        "its fingerprint": replace(ledger, credentials={**ledger.credentials, place: ""}),
    }[lacking]
    keep_ledger(cluster, changed)
    assert entry(cluster) == AWAITED
    assert entry(cluster, FULFILMENT) == IN_SYNC


def test_a_credential_that_the_broker_was_not_told_is_not_in_sync() -> None:
    """Clients have the new one already."""
    cluster = told()
    stored = cluster.objects["ServiceIdentity", CHECKOUT]
    cluster.put(credential(stored, current=(Slot.SECOND, "second")))
    assert entry(cluster) == AWAITED


def test_a_handover_leaves_it_in_sync() -> None:
    cluster = told()
    stored = cluster.objects["ServiceIdentity", CHECKOUT]
    first, second = (Slot.FIRST, "first"), (Slot.SECOND, "second")
    cluster.put(credential(stored, current=first, upcoming=second))
    assert entry(cluster) == IN_SYNC
    tell(cluster)
    cluster.put(credential(stored, current=second, retiring=first))
    assert entry(cluster) == IN_SYNC


@pytest.mark.parametrize(
    "wrong", ["changed by hand", "of another broker", "of somebody else", "of a predecessor"]
)
def test_a_secret_that_is_not_as_it_should_be_is_no_credential(wrong: str) -> None:
    cluster = told()
    stored = cluster.objects["ServiceIdentity", CHECKOUT]
    secret = {
        "changed by hand": credential(stored),
        "of another broker": credential(stored, Ref("elsewhere", "main")),
        "of somebody else": credential(stored, principal=CONSUMER),
        "of a predecessor": credential(
            {**stored, "metadata": {**stored["metadata"], "uid": "another"}}
        ),
    }[wrong]
    if wrong == "changed by hand":
        secret["data"]["password"] = "AAAA"
    cluster.put(secret)
    assert entry(cluster) == ("Live", "AwaitingCredential")


def test_whoever_shows_a_certificate_needs_no_credential() -> None:
    kafka = {"kafka": {**messaging.KAFKA["kafka"], "clients": "MTLS"}}
    cluster = market(broker(described=kafka))
    cluster.visit(KEY)
    tell(cluster)
    assert entry(cluster) == IN_SYNC


def test_a_broker_that_cannot_be_reached_is_said_in_its_own_words() -> None:
    cluster = told()
    lose_sight(cluster)
    assert entry(cluster) == ("Live", "BrokerUnreachable")
    assert "nobody answered at kafka.messaging.svc:9093" in entries(cluster)[0]["message"]
    assert verdicts(cluster)["Reconciling"] == ("True", "BrokerUnreachable")


def test_a_broker_that_is_down_is_said_before_a_credential_that_is_missing() -> None:
    """The policy is not looked at again when its Secret comes, but when its broker was told."""
    cluster = market()
    lose_sight(cluster)
    assert entry(cluster) == ("Live", "BrokerUnreachable")


def test_what_the_broker_refused_is_said_of_whom_it_concerns() -> None:
    cluster = told()
    look = cluster.world.brokers.observation(MAIN)
    cluster.world.brokers.note_observation(MAIN, replace(look, failures={WRITE: "no more ACLs"}))
    assert entry(cluster) == ("Live", "BrokerRefused")
    assert entry(cluster, FULFILMENT) == IN_SYNC
    cluster.world.brokers.note_observation(
        MAIN, replace(look, failures={(CONSUMER, Slot.FIRST): "too short"})
    )
    assert entry(cluster) == IN_SYNC
    assert entry(cluster, FULFILMENT) == ("Live", "BrokerRefused")
    assert verdicts(cluster)["Stalled"] == ("True", "BrokerRefused")


def test_without_a_ledger_nothing_is_in_sync() -> None:
    cluster = told()
    lose_ledger(cluster)
    assert entry(cluster) == AWAITED
    assert verdicts(cluster)["Ready"] == ("False", "AwaitingBroker")


def test_a_ledger_that_is_back_is_news_for_every_policy() -> None:
    """What is at the broker as it is declared is taken in, and nothing is changed there."""
    kafka = {"kafka": {**messaging.KAFKA["kafka"], "clients": "MTLS"}}
    cluster = market(broker(described=kafka))
    cluster.visit(KEY)
    ledger = tell(cluster)
    lose_ledger(cluster)
    assert entry(cluster) == AWAITED
    affected = cluster.put(ledger_manifest(OWN, declared_at(cluster), ledger))
    assert KEY in affected
    assert entry(cluster) == IN_SYNC


def test_a_ledger_that_cannot_be_read_needs_a_person() -> None:
    cluster = told()
    spoilt = ledger_manifest(OWN, declared_at(cluster), Ledger())
    cluster.put({**spoilt, "binaryData": {FILE: "AAAA"}})
    assert entry(cluster) == ("Live", "LedgerUnreadable")
    assert verdicts(cluster)["Stalled"] == ("True", "LedgerUnreadable")


# A restart


def test_a_restart_is_no_news() -> None:
    """Nothing is known of any broker then, and a thousand statuses would be written twice."""
    cluster = told()
    cluster.world.brokers.forget_observation(MAIN)
    cluster.world.brokers.note_observation(MAIN, BrokerObservation(busy=True))
    assert entry(cluster) == IN_SYNC
    assert cluster.plan(KEY).status == cluster.plan(KEY).previous_status


def test_a_restart_is_no_news_of_a_broker_that_is_down() -> None:
    cluster = told()
    lose_sight(cluster)
    cluster.visit(KEY)
    cluster.world.brokers.forget_observation(MAIN)
    assert entry(cluster) == ("Live", "BrokerUnreachable")


def test_after_a_restart_the_ledger_still_has_its_say() -> None:
    cluster = told()
    cluster.world.brokers.forget_observation(MAIN)
    lose_ledger(cluster)
    assert entry(cluster) == AWAITED


def test_what_was_never_seen_is_not_in_sync_after_a_restart() -> None:
    cluster = market()
    cluster.visit(KEY)
    give_credentials(cluster, CHECKOUT, FULFILMENT)
    tell(cluster)
    cluster.world.brokers.forget_observation(MAIN)
    assert entry(cluster) == AWAITED


# What cannot be granted


@pytest.mark.parametrize("mode", ["Observe", "Plan"])
def test_a_broker_that_only_observes_says_how_to_change_that(mode: str) -> None:
    cluster = told(broker(mode=mode))
    assert entry(cluster) == ("Live", "BrokerObserved")
    assert entries(cluster)[0]["message"] == (
        "MessageBroker messaging/main is only observed; set mode: Enforce there"
    )
    assert verdicts(cluster)["Stalled"] == ("True", "BrokerObserved")


def test_what_troth_does_not_serve_is_refused() -> None:
    cluster = market(broker(described=messaging.VALKEY))
    assert entry(cluster) == ("Refused", "Unsupported")
    assert verdicts(cluster)["Stalled"] == ("True", "Unsupported")


def test_what_the_broker_has_no_words_for_is_refused() -> None:
    """Whoever may write to Kafka's own topics may move others' offsets."""
    internal = "__consumer_offsets"
    cluster = market(broker(owns=["__consumer"]), orders(topic={"name": internal}))
    give_credentials(cluster, CHECKOUT, FULFILMENT)
    assert entry(cluster) == ("Refused", "NotAtThisBroker")
    assert internal in entries(cluster)[0]["message"]
    assert verdicts(cluster)["Stalled"] == ("True", "NotAtThisBroker")
    assert not cluster.plan(KEY).steps


def test_a_policy_without_its_broker_is_not_ready_though_nobody_agrees_yet() -> None:
    cluster = market(orders(brokerRef={"name": "other", "namespace": "messaging"}))
    cluster.drop("ServiceIdentity", CHECKOUT)
    cluster.drop("ServiceIdentity", FULFILMENT)
    assert verdicts(cluster)["Ready"] == ("False", "BrokerMissing")
    assert verdicts(cluster)["PeersAgree"] == ("False", "IdentityMissing")


def test_a_suspended_grant_stays_suspended_and_is_not_ready() -> None:
    cluster = told()
    cluster.put(identity("rival", account="checkout"))
    assert entry(cluster) == ("Suspended", "SharedIdentity")
    assert verdicts(cluster)["Stalled"] == ("True", "SharedIdentity")


# Who agrees


def test_an_identity_that_does_not_agree_is_said_apart() -> None:
    """What is agreed is in place: the service beside it is not unwell."""
    cluster = told(subscriber("fulfilment", "other"))
    assert entry(cluster, FULFILMENT) == ("AwaitingIdentity", "PolicyNotNamed")
    assert verdicts(cluster)["Ready"] == ("True", "InPlace")
    assert verdicts(cluster)["PeersAgree"] == ("False", "PolicyNotNamed")


def test_who_names_the_policy_of_their_own_accord_is_listed_last_and_makes_it_not_unwell() -> None:
    cluster = told(publisher("audit"))
    assert [each["identity"] for each in entries(cluster)] == [
        "shop/checkout",
        "shop/fulfilment",
        "shop/audit",
    ]
    assert entries(cluster)[-1]["state"] == "AwaitingPolicy"
    assert verdicts(cluster)["PeersAgree"] == ("True", "AllAgree")
    assert verdicts(cluster)["Ready"] == ("True", "InPlace")


def test_one_grant_that_is_refused_makes_it_not_ready() -> None:
    cluster = told(orders(consumers=[consumer("fulfilment")]))
    assert entry(cluster) == IN_SYNC
    assert verdicts(cluster)["Ready"] == ("False", "GroupMissing")
    assert verdicts(cluster)["PeersAgree"] == ("True", "AllAgree")


def test_the_topic_of_a_dead_letter_is_told_and_no_other() -> None:
    cluster = told(orders(deadLetter={"topic": "prod.orders.v1.dlq"}))
    assert [(each["identity"], each["action"], each.get("topic")) for each in entries(cluster)] == [
        ("shop/checkout", "Publish", None),
        ("shop/fulfilment", "Consume", None),
        ("shop/fulfilment", "Publish", "prod.orders.v1.dlq"),
    ]
    assert {each["state"] for each in entries(cluster)} == {"InSync"}


def test_however_many_name_the_policy_its_own_grants_are_told() -> None:
    cluster = told(*(publisher(f"a{each}") for each in range(GRANT_LIMIT)))
    found = entries(cluster)
    assert len(found) == GRANT_LIMIT
    assert [each["identity"] for each in found[:2]] == ["shop/checkout", "shop/fulfilment"]


def test_a_schema_that_cannot_be_used_makes_it_not_ready() -> None:
    cluster = told(orders(schema={"jsonSchema": {"type": "nothing"}}))
    assert verdicts(cluster)["GrantsInSync"] == ("True", "AllInSync")
    assert verdicts(cluster)["SchemaValid"][0] == "False"
    assert verdicts(cluster)["Ready"][0] == "False"


# The finalizer


def test_it_is_held_before_anything_is_granted() -> None:
    cluster = market()
    (step,) = cluster.plan(KEY).steps
    assert isinstance(step, SetFinalizers)
    assert step.finalizers == (FINALIZER,)
    assert broker_key(MAIN) in cluster.carry_out(step), "its broker's plan waits for that"
    assert not cluster.plan(KEY).steps


def test_the_finalizers_of_others_stay() -> None:
    described = orders()
    described["metadata"]["finalizers"] = ["example.com/backup"]
    cluster = market(described)
    cluster.visit(KEY)
    stored = cluster.objects["TopicPolicy", ORDERS]
    assert stored["metadata"]["finalizers"] == ["example.com/backup", FINALIZER]


@pytest.mark.parametrize(
    "manifest",
    [
        broker(mode="Observe"),
        broker(described=messaging.VALKEY),
        broker(environment="staging"),
        orders(producers=[producer("nobody")], consumers=[]),
        orders(brokerRef={"name": "other", "namespace": "messaging"}, producers=[], consumers=[]),
    ],
    ids=["observed", "not served", "refused", "not agreed", "no broker and not agreed"],
)
def test_what_grants_nothing_is_not_held(manifest: Manifest) -> None:
    assert not market(manifest).plan(KEY).steps


def test_what_only_its_broker_is_missing_for_is_held_before_that_comes() -> None:
    cluster = market(orders(brokerRef={"name": "other", "namespace": "messaging"}))
    assert [type(each) for each in cluster.plan(KEY).steps] == [SetFinalizers]


def test_a_write_that_is_refused_is_said() -> None:
    cluster = told()
    cluster.world.observe_outcome(
        WriteRefused(
            "TopicPolicy", ORDERS, "TopicPolicy shop/orders cannot be written: no", passing=False
        )
    )
    assert verdicts(cluster)["Ready"] == ("False", "WriteRefused")


def test_nothing_is_asked_in_a_namespace_that_is_being_deleted() -> None:
    cluster = market()
    going = builders.namespace("shop", domain="production")
    going["metadata"]["deletionTimestamp"] = builders.stamp(cluster.now)
    cluster.put(going)
    plan = cluster.plan(KEY)
    assert (plan.steps, plan.status) == ((), None)


def test_nothing_is_asked_for_a_policy_that_is_gone() -> None:
    cluster = told()
    cluster.drop("TopicPolicy", ORDERS)
    plan = cluster.plan(KEY)
    assert (plan.steps, plan.status) == ((), None)


def test_a_policy_that_cannot_be_read_says_so() -> None:
    cluster = told()
    stored = cluster.objects["TopicPolicy", ORDERS]
    cluster.put({**stored, "spec": {}})
    assert verdicts(cluster)["Stalled"] == ("True", "InvalidSpec")
    assert not cluster.plan(KEY).steps
