"""Plans of a policy: which grants its broker has, and the status of the others.

A grant is in sync only if the ledger, the broker and the identity's Secret all show it.
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
    sync_broker,
)
from tests.builders import OWN, Cluster, Manifest, identity
from tests.messaging import broker, consumer, producer
from troth.planning.grants.finalizer import FINALIZER
from troth.planning.grants.status import GRANT_LIMIT
from troth.planning.steps.objects import SetFinalizers
from troth.resources.messaging.message_broker_status import LISTED_NAMESPACES
from troth.resources.references import Ref
from troth.trust.grants import Rule, Slot
from troth.world.facts.broker import BrokerObservation, Ledger
from troth.world.keys import Key, broker_key, policy_key
from troth.world.observation.ledger import FILE, ledger_manifest
from troth.world.outcomes.writes import WriteRefused

KEY = policy_key(ORDERS)
WRITE = Rule(PUBLISHER, "TOPIC", "LITERAL", "prod.orders.v1", "WRITE", host="*")


def synced_market(*manifests: Manifest) -> Cluster:
    """Return a market whose broker has every grant and whose policy's status says so."""
    cluster = market(*manifests)
    give_credentials(cluster, CHECKOUT, FULFILMENT)
    cluster.visit(KEY)
    sync_broker(cluster)
    cluster.visit(KEY)
    return cluster


def entries(cluster: Cluster) -> list[Manifest]:
    status = cluster.plan(KEY).status
    assert status is not None
    found: list[Manifest] = status["grants"]
    return found


def entry(cluster: Cluster, who: Ref = CHECKOUT) -> tuple[str, str | None]:
    """Return the state and the reason of an identity's first grant."""
    found = next(each for each in entries(cluster) if each["identity"] == str(who))
    return found["state"], found.get("reason")


def verdicts(cluster: Cluster) -> dict[str, tuple[str, str]]:
    status = cluster.plan(KEY).status
    assert status is not None
    return {each["type"]: (each["status"], each["reason"]) for each in status["conditions"]}


IN_SYNC = ("InSync", None)
AWAITED = ("Live", "AwaitingBroker")


# State of the broker


def test_grant_is_in_sync_once_the_broker_has_it() -> None:
    cluster = synced_market()
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
        "Exclusive": ("True", "OnlyGranted"),
        "PeersAgree": ("True", "AllAgree"),
    }


def test_settled_policy_has_an_unchanged_status() -> None:
    plan = synced_market().plan(KEY)
    assert plan.status == plan.previous_status
    assert not plan.steps
    assert plan.due is None


def test_grant_waits_for_the_credential_and_then_for_the_broker() -> None:
    cluster = market()
    assert entry(cluster) == ("Live", "AwaitingCredential")
    give_credentials(cluster, CHECKOUT)
    assert entry(cluster) == AWAITED
    assert entry(cluster, FULFILMENT) == ("Live", "AwaitingCredential")
    assert verdicts(cluster)["Reconciling"] == ("True", "AwaitingBroker")


def tell_room(cluster: Cluster, *namespaces: str) -> set[Key]:
    """Write which namespaces have no room into the broker's status; return the affected keys."""
    told = cluster.objects["MessageBroker", MAIN]
    return cluster.put(told | {"status": {"namespacesWithoutRoom": list(namespaces)}})


@pytest.mark.parametrize(
    ("without", "reason"),
    [
        (["shop"], "ShareExceeded"),
        (["legal", "shop"], "ShareExceeded"),
        (["*"], "LedgerFull"),
        ([f"team-{number:03}" for number in range(LISTED_NAMESPACES)], "LedgerFull"),
        (["legal"], "AwaitingBroker"),
        ([], "AwaitingBroker"),
    ],
)
def test_grant_without_room_in_the_ledger_says_so(without: list[str], reason: str) -> None:
    cluster = market()
    give_credentials(cluster, CHECKOUT, FULFILMENT)
    tell_room(cluster, *without)
    assert entry(cluster) == ("Live", reason)
    told = verdicts(cluster)
    assert told["GrantsInSync"] == told["Ready"] == ("False", reason)
    assert told["Stalled"][0] == ("False" if reason == "AwaitingBroker" else "True")
    found = next(each for each in entries(cluster) if each["identity"] == str(CHECKOUT))
    assert "MessageBroker messaging/main" in found["message"]
    assert ("docs/limits.md" in found["message"]) == (reason != "AwaitingBroker")


def test_grant_that_the_ledger_has_is_in_sync_although_there_is_no_room_for_more() -> None:
    cluster = synced_market()
    tell_room(cluster, "*")
    assert entry(cluster) == IN_SYNC


def test_credential_that_rotates_needs_no_room_for_new_grants() -> None:
    cluster = synced_market()
    tell_room(cluster, "shop")
    stored = cluster.objects["ServiceIdentity", CHECKOUT]
    cluster.put(credential(stored, current=(Slot.SECOND, "second")))
    assert entry(cluster) == AWAITED


@pytest.mark.parametrize(
    ("without", "told"),
    [
        (["shop/checkout"], ("Live", "ShareExceeded")),
        (["legal/*", "shop/*"], ("Live", "ShareExceeded")),
        (["legal/*", "shop/other"], IN_SYNC),
    ],
)
def test_grant_of_a_client_without_room_in_the_network_policy_says_so(
    without: list[str], told: tuple[str, str | None]
) -> None:
    cluster = synced_market()
    stored = cluster.objects["MessageBroker", MAIN]
    assert KEY in cluster.put(stored | {"status": {"clientsWithoutRoom": without}})
    assert entry(cluster) == told
    if told != IN_SYNC:
        assert verdicts(cluster)["Stalled"] == ("True", "ShareExceeded")
    assert KEY in cluster.put(stored | {"status": {}})
    assert entry(cluster) == IN_SYNC


def test_policy_is_planned_again_when_the_room_of_its_broker_changes() -> None:
    cluster = market()
    assert KEY in tell_room(cluster, "shop")
    assert KEY not in tell_room(cluster, "shop")
    assert KEY in tell_room(cluster)


@pytest.mark.parametrize("lacking", ["the rule", "the credential", "everything"])
def test_grant_that_the_broker_does_not_show_is_not_in_sync(lacking: str) -> None:
    """A restart of Kafka can lose every credential, no matter what the ledger says."""
    cluster = synced_market()
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
def test_grant_that_the_ledger_does_not_have_is_not_in_sync(lacking: str) -> None:
    """A foreign rule or credential at the broker is not the declared one."""
    cluster = synced_market()
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


def test_grant_with_a_credential_unknown_to_the_broker_is_not_in_sync() -> None:
    """Clients already read the new credential."""
    cluster = synced_market()
    stored = cluster.objects["ServiceIdentity", CHECKOUT]
    cluster.put(credential(stored, current=(Slot.SECOND, "second")))
    assert entry(cluster) == AWAITED


def test_rotation_of_the_credential_keeps_the_grant_in_sync() -> None:
    cluster = synced_market()
    stored = cluster.objects["ServiceIdentity", CHECKOUT]
    first, second = (Slot.FIRST, "first"), (Slot.SECOND, "second")
    cluster.put(credential(stored, current=first, upcoming=second))
    assert entry(cluster) == IN_SYNC
    sync_broker(cluster)
    cluster.put(credential(stored, current=second, retiring=first))
    assert entry(cluster) == IN_SYNC


@pytest.mark.parametrize(
    "wrong", ["changed by hand", "of another broker", "of somebody else", "of a predecessor"]
)
def test_incorrect_secret_is_no_credential(wrong: str) -> None:
    cluster = synced_market()
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


def test_client_with_a_certificate_needs_no_credential() -> None:
    kafka = {"kafka": {**messaging.KAFKA["kafka"], "clients": "MTLS"}}
    cluster = market(broker(described=kafka))
    cluster.visit(KEY)
    sync_broker(cluster)
    assert entry(cluster) == IN_SYNC


def test_unreachable_broker_is_reported_with_its_own_message() -> None:
    cluster = synced_market()
    lose_sight(cluster)
    assert entry(cluster) == ("Live", "BrokerUnreachable")
    assert "nobody answered at kafka.messaging.svc:9093" in entries(cluster)[0]["message"]
    assert verdicts(cluster)["Reconciling"] == ("True", "BrokerUnreachable")


def test_unreachable_broker_is_reported_before_a_missing_credential() -> None:
    """The next invalidation of the policy is a change of the broker, not of the Secret."""
    cluster = market()
    lose_sight(cluster)
    assert entry(cluster) == ("Live", "BrokerUnreachable")


def test_refusal_of_the_broker_is_reported_for_the_affected_grant() -> None:
    cluster = synced_market()
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


def test_nothing_is_in_sync_without_a_ledger() -> None:
    cluster = synced_market()
    lose_ledger(cluster)
    assert entry(cluster) == AWAITED
    assert verdicts(cluster)["Ready"] == ("False", "AwaitingBroker")


def test_restored_ledger_invalidates_every_policy() -> None:
    """The broker already has the declared rules: Troth adopts them and changes nothing there."""
    kafka = {"kafka": {**messaging.KAFKA["kafka"], "clients": "MTLS"}}
    cluster = market(broker(described=kafka))
    cluster.visit(KEY)
    ledger = sync_broker(cluster)
    lose_ledger(cluster)
    assert entry(cluster) == AWAITED
    affected = cluster.put(ledger_manifest(OWN, declared_at(cluster), ledger))
    assert KEY in affected
    assert entry(cluster) == IN_SYNC


def test_unreadable_ledger_stalls_the_policy() -> None:
    cluster = synced_market()
    spoilt = ledger_manifest(OWN, declared_at(cluster), Ledger())
    cluster.put({**spoilt, "binaryData": {FILE: "AAAA"}})
    assert entry(cluster) == ("Live", "LedgerUnreadable")
    assert verdicts(cluster)["Stalled"] == ("True", "LedgerUnreadable")


# A restart


def test_restart_changes_no_status() -> None:
    """No broker is observed yet; otherwise a thousand statuses would be written twice."""
    cluster = synced_market()
    cluster.world.brokers.forget_observation(MAIN)
    cluster.world.brokers.note_observation(MAIN, BrokerObservation(busy=True))
    assert entry(cluster) == IN_SYNC
    assert cluster.plan(KEY).status == cluster.plan(KEY).previous_status


def test_restart_keeps_the_status_of_an_unreachable_broker() -> None:
    cluster = synced_market()
    lose_sight(cluster)
    cluster.visit(KEY)
    cluster.world.brokers.forget_observation(MAIN)
    assert entry(cluster) == ("Live", "BrokerUnreachable")


def test_lost_ledger_is_reported_after_a_restart() -> None:
    cluster = synced_market()
    cluster.world.brokers.forget_observation(MAIN)
    lose_ledger(cluster)
    assert entry(cluster) == AWAITED


def test_grant_never_seen_in_sync_is_not_in_sync_after_a_restart() -> None:
    cluster = market()
    cluster.visit(KEY)
    give_credentials(cluster, CHECKOUT, FULFILMENT)
    sync_broker(cluster)
    cluster.world.brokers.forget_observation(MAIN)
    assert entry(cluster) == AWAITED


# Impossible grants


@pytest.mark.parametrize("mode", ["Observe", "Plan"])
def test_observed_broker_reports_how_to_enforce(mode: str) -> None:
    cluster = synced_market(broker(mode=mode))
    assert entry(cluster) == ("Live", "BrokerObserved")
    assert entries(cluster)[0]["message"] == (
        "MessageBroker messaging/main is only observed; set mode: Enforce there"
    )
    assert verdicts(cluster)["Stalled"] == ("True", "BrokerObserved")


def test_unsupported_broker_is_refused() -> None:
    cluster = market(broker(described=messaging.VALKEY))
    assert entry(cluster) == ("Refused", "Unsupported")
    assert verdicts(cluster)["Stalled"] == ("True", "Unsupported")


def test_topic_that_the_broker_does_not_support_is_refused() -> None:
    """A client that may write to Kafka's internal topics may move the offsets of others."""
    internal = "__consumer_offsets"
    cluster = market(broker(owns=["__consumer"]), orders(topic={"name": internal}))
    give_credentials(cluster, CHECKOUT, FULFILMENT)
    assert entry(cluster) == ("Refused", "NotAtThisBroker")
    assert internal in entries(cluster)[0]["message"]
    assert verdicts(cluster)["Stalled"] == ("True", "NotAtThisBroker")
    assert not cluster.plan(KEY).steps


def test_policy_without_broker_is_not_ready_before_peers_agree() -> None:
    cluster = market(orders(brokerRef={"name": "other", "namespace": "messaging"}))
    cluster.drop("ServiceIdentity", CHECKOUT)
    cluster.drop("ServiceIdentity", FULFILMENT)
    assert verdicts(cluster)["Ready"] == ("False", "BrokerMissing")
    assert verdicts(cluster)["PeersAgree"] == ("False", "IdentityMissing")


def test_suspended_grant_stays_suspended_and_is_not_ready() -> None:
    cluster = synced_market()
    cluster.put(identity("rival", account="checkout"))
    assert entry(cluster) == ("Suspended", "SharedIdentity")
    assert verdicts(cluster)["Stalled"] == ("True", "SharedIdentity")


# Consent


def test_identity_that_does_not_agree_only_affects_peers_agree() -> None:
    """Every agreed grant is in place, so the policy is Ready."""
    cluster = synced_market(subscriber("fulfilment", "other"))
    assert entry(cluster, FULFILMENT) == ("AwaitingIdentity", "PolicyNotNamed")
    assert verdicts(cluster)["Ready"] == ("True", "InPlace")
    assert verdicts(cluster)["PeersAgree"] == ("False", "PolicyNotNamed")


def test_uninvited_identity_is_listed_last_and_does_not_affect_readiness() -> None:
    cluster = synced_market(publisher("audit"))
    assert [each["identity"] for each in entries(cluster)] == [
        "shop/checkout",
        "shop/fulfilment",
        "shop/audit",
    ]
    assert entries(cluster)[-1]["state"] == "AwaitingPolicy"
    assert verdicts(cluster)["PeersAgree"] == ("True", "AllAgree")
    assert verdicts(cluster)["Ready"] == ("True", "InPlace")


def test_refused_grant_makes_the_policy_not_ready() -> None:
    cluster = synced_market(orders(consumers=[consumer("fulfilment")]))
    assert entry(cluster) == IN_SYNC
    assert verdicts(cluster)["Ready"] == ("False", "GroupMissing")
    assert verdicts(cluster)["PeersAgree"] == ("True", "AllAgree")


def test_topic_is_shown_for_the_dead_letter_grant_only() -> None:
    cluster = synced_market(orders(deadLetter={"topic": "prod.orders.v1.dlq"}))
    assert [(each["identity"], each["action"], each.get("topic")) for each in entries(cluster)] == [
        ("shop/checkout", "Publish", None),
        ("shop/fulfilment", "Consume", None),
        ("shop/fulfilment", "Publish", "prod.orders.v1.dlq"),
    ]
    assert {each["state"] for each in entries(cluster)} == {"InSync"}


def test_own_grants_are_listed_before_those_above_the_limit() -> None:
    cluster = synced_market(*(publisher(f"a{each}") for each in range(GRANT_LIMIT)))
    found = entries(cluster)
    assert len(found) == GRANT_LIMIT
    assert [each["identity"] for each in found[:2]] == ["shop/checkout", "shop/fulfilment"]


def test_unusable_schema_makes_the_policy_not_ready() -> None:
    cluster = synced_market(orders(schema={"jsonSchema": {"type": "nothing"}}))
    assert verdicts(cluster)["GrantsInSync"] == ("True", "AllInSync")
    assert verdicts(cluster)["SchemaValid"][0] == "False"
    assert verdicts(cluster)["Ready"][0] == "False"


# The finalizer


def test_finalizer_is_set_before_anything_is_granted() -> None:
    cluster = market()
    (step,) = cluster.plan(KEY).steps
    assert isinstance(step, SetFinalizers)
    assert step.finalizers == (FINALIZER,)
    assert broker_key(MAIN) in cluster.carry_out(step), "its broker's plan waits for that"
    assert not cluster.plan(KEY).steps


def test_foreign_finalizers_stay() -> None:
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
def test_policy_that_grants_nothing_gets_no_finalizer(manifest: Manifest) -> None:
    assert not market(manifest).plan(KEY).steps


def test_policy_that_only_lacks_its_broker_gets_the_finalizer() -> None:
    cluster = market(orders(brokerRef={"name": "other", "namespace": "messaging"}))
    assert [type(each) for each in cluster.plan(KEY).steps] == [SetFinalizers]


def test_refused_write_is_reported() -> None:
    cluster = synced_market()
    cluster.world.observe_outcome(
        WriteRefused(
            "TopicPolicy", ORDERS, "TopicPolicy shop/orders cannot be written: no", passing=False
        )
    )
    assert verdicts(cluster)["Ready"] == ("False", "WriteRefused")


def test_policy_in_a_terminating_namespace_has_no_steps() -> None:
    cluster = market()
    going = builders.namespace("shop", domain="production")
    going["metadata"]["deletionTimestamp"] = builders.stamp(cluster.now)
    cluster.put(going)
    plan = cluster.plan(KEY)
    assert (plan.steps, plan.status) == ((), None)


def test_deleted_policy_has_no_steps() -> None:
    cluster = synced_market()
    cluster.drop("TopicPolicy", ORDERS)
    plan = cluster.plan(KEY)
    assert (plan.steps, plan.status) == ((), None)


def test_unreadable_policy_is_reported() -> None:
    cluster = synced_market()
    stored = cluster.objects["TopicPolicy", ORDERS]
    cluster.put({**stored, "spec": {}})
    assert verdicts(cluster)["Stalled"] == ("True", "InvalidSpec")
    assert not cluster.plan(KEY).steps
