"""Credentials of an identity at each broker where it has a grant: issue, repair, rotate, delete."""

import base64
import copy
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import builders
from tests.broker_builders import (
    CHECKOUT,
    DOWN,
    MAIN,
    ORDERS,
    PUBLISHER,
    keep_ledger,
    ledger_of,
    lose_ledger,
    lose_sight,
    market,
    orders,
    publisher,
    see,
    sync_broker,
)
from tests.builders import (
    DAY,
    HOUR,
    Cluster,
    Manifest,
    identity,
    key_of,
    namespace,
    rotation,
    stamp,
)
from tests.messaging import KAFKA, NATS, RABBITMQ, broker, producer
from troth.brokers.nats.jwt import Key as NATSKey
from troth.brokers.nats.jwt import Kind
from troth.planning.steps.broker_credentials import ChangeCredential, CredentialChange
from troth.planning.steps.objects import Remove
from troth.resources.references import Ref
from troth.trust.grants import Slot
from troth.world.facts.broker import CredentialSecret, Ledger
from troth.world.index.rotations import rotation_key
from troth.world.keys import Key, identity_key, policy_key
from troth.world.outcomes.writes import ForeignFound

KEY = identity_key(CHECKOUT)
SECRET = Ref("shop", "checkout-main")
ROTATION = rotation_key(Ref("shop", "checkout-rotation"))
PROPAGATION = timedelta(minutes=3)
FIRST, SECOND = (PUBLISHER, Slot.FIRST), (PUBLISHER, Slot.SECOND)


def observed_market(*manifests: Manifest) -> Cluster:
    """Return a market with an observed broker and a policy that holds its finalizer."""
    cluster = market(*manifests)
    see(cluster)
    cluster.visit(policy_key(ORDERS))
    return cluster


def issued(*manifests: Manifest) -> Cluster:
    """Return a market in which `checkout` has its credential and the broker knows it."""
    cluster = observed_market(*manifests)
    cluster.visit(KEY)
    sync_broker(cluster)
    return cluster


def changes(cluster: Cluster, key: Key = KEY) -> list[CredentialChange]:
    steps = cluster.plan(key).steps
    return [step.change for step in steps if isinstance(step, ChangeCredential)]


def removed(cluster: Cluster, key: Key = KEY) -> list[Ref]:
    return [step.ref for step in cluster.plan(key).steps if isinstance(step, Remove)]


def condition_of(cluster: Cluster, key: Key = KEY) -> tuple[str, str, str]:
    found = cluster.condition(key, "CredentialsIssued")
    return found["status"], found["reason"], found.get("message", "")


def condition_types(cluster: Cluster, key: Key = KEY) -> set[str]:
    status = cluster.plan(key).status
    assert status is not None
    return {each["type"] for each in status["conditions"]}


def at_brokers(cluster: Cluster, key: Key = KEY) -> list[Manifest]:
    status = cluster.plan(key).status
    assert status is not None
    return list(status.get("brokers", []))


def secret(cluster: Cluster, ref: Ref = SECRET) -> CredentialSecret:
    return cluster.world.brokers.secrets[ref]


def data(cluster: Cluster, ref: Ref = SECRET) -> dict[str, str]:
    stored = cluster.objects["Secret", ref]["data"]
    return {name: base64.b64decode(text).decode() for name, text in stored.items()}


def spoil(cluster: Cluster, ref: Ref = SECRET, **values: str) -> None:
    """Edit a Secret by hand."""
    stored = copy.deepcopy(cluster.objects["Secret", ref])
    stored["data"] |= {
        name: base64.b64encode(text.encode()).decode() for name, text in values.items()
    }
    cluster.put(stored)


def wait(cluster: Cluster, length: timedelta) -> None:
    cluster.now += length
    cluster.uptime += length.total_seconds()


def consenting(*policies: str) -> Manifest:
    return publisher("checkout", *policies)


# Issuance


def test_credential_is_not_issued_before_the_broker_is_observed() -> None:
    cluster = market()
    cluster.visit(KEY)
    assert SECRET not in cluster.world.brokers.secrets
    assert condition_of(cluster)[:2] == ("False", "AwaitingBroker")
    lose_sight(cluster)
    assert DOWN.message in condition_of(cluster)[2]


def test_identity_with_a_grant_gets_a_credential_and_its_status_names_it() -> None:
    cluster = observed_market()
    assert (changes(cluster), condition_of(cluster)[1]) == ([CredentialChange.ISSUE], "Issuing")
    cluster.visit(KEY)
    assert (changes(cluster), condition_of(cluster)[:2]) == ([], ("True", "Issued"))
    assert at_brokers(cluster) == [
        {
            "broker": "messaging/main",
            "principal": PUBLISHER,
            "secret": "checkout-main",
            "madeAt": stamp(cluster.now),
            "phase": "Idle",
        }
    ]
    owner = cluster.objects["ServiceIdentity", CHECKOUT]["metadata"]["uid"]
    assert secret(cluster).owner_uids == (owner,)
    assert data(cluster)["username"] == PUBLISHER


@pytest.mark.parametrize(
    "manifest",
    [
        pytest.param(publisher("checkout", "others"), id="the identity does not name the policy"),
        pytest.param(orders(producers=[producer("other")]), id="the policy does not name it"),
        pytest.param(broker(mode="Observe"), id="the broker is only observed"),
        pytest.param(broker(mode="Plan"), id="nothing is changed there"),
        pytest.param(
            broker(described={"kafka": KAFKA["kafka"] | {"clients": "MTLS"}}), id="by certificate"
        ),
    ],
)
def test_credential_is_not_issued_without_a_need(manifest: Manifest) -> None:
    cluster = observed_market(manifest)
    assert changes(cluster) == []
    assert "CredentialsIssued" not in condition_types(cluster)


def test_unsupported_broker_is_reported() -> None:
    assert condition_of(observed_market(broker(described=RABBITMQ)))[:2] == ("False", "Unsupported")


def test_identity_without_broker_gets_no_broker_condition() -> None:
    cluster = observed_market(identity("payments"))
    assert "CredentialsIssued" not in condition_types(cluster, key_of())


def test_credential_is_unchanged_after_a_restart_until_the_broker_is_seen() -> None:
    cluster = issued()
    cluster.world.brokers.forget_observation(MAIN)
    assert (changes(cluster), condition_of(cluster)[1]) == ([], "Issued")
    spoil(cluster, password="another")
    assert (changes(cluster), condition_of(cluster)[1]) == ([], "AwaitingBroker")


# Repair


@pytest.mark.parametrize("value", ["", "another"])
def test_edited_credential_is_replaced(value: str) -> None:
    cluster = issued()
    before = secret(cluster).current
    spoil(cluster, password=value)
    assert changes(cluster) == [CredentialChange.ISSUE]
    cluster.visit(KEY)
    after = secret(cluster)
    assert after.intact
    assert after.current not in (None, before)


def test_credential_with_an_added_key_is_replaced() -> None:
    cluster = issued()
    spoil(cluster, extra="by hand")
    assert changes(cluster) == [CredentialChange.ISSUE]


def test_deleted_credential_is_issued_again() -> None:
    cluster = issued()
    assert KEY in cluster.drop("Secret", SECRET)
    assert changes(cluster) == [CredentialChange.ISSUE]


def test_intact_credential_of_another_principal_is_replaced() -> None:
    cluster = issued()
    cluster.put(broker(principals="other-"))
    see(cluster)
    assert changes(cluster) == [CredentialChange.ISSUE]
    assert not secret(cluster).principal.startswith("other-")


def test_connection_settings_follow_the_broker_without_a_new_credential() -> None:
    cluster = issued()
    before = secret(cluster).current
    cluster.put(
        broker(described={"kafka": KAFKA["kafka"] | {"bootstrapServers": ["kafka.new.svc:9093"]}})
    )
    see(cluster)
    assert changes(cluster) == [CredentialChange.REFRESH]
    cluster.visit(KEY)
    assert changes(cluster) == []
    assert secret(cluster).current == before
    assert data(cluster)["bootstrap.servers"] == "kafka.new.svc:9093"


def test_new_broker_roots_are_written_without_a_new_credential() -> None:
    cluster = issued()
    before = secret(cluster).current
    look = cluster.world.brokers.observation(MAIN)
    cluster.world.brokers.note_observation(
        MAIN, replace(look, authorities="-----BEGIN CERTIFICATE-----\n")
    )
    cluster.visit(KEY)
    assert data(cluster)["ca.crt"].startswith("-----BEGIN")
    assert secret(cluster).current == before


def test_changed_labels_are_restored() -> None:
    cluster = issued()
    stored = copy.deepcopy(cluster.objects["Secret", SECRET])
    stored["metadata"]["labels"]["troth.dev/owner-name"] = "somebody"
    cluster.put(stored)
    assert changes(cluster) == [CredentialChange.REFRESH]


def test_another_nats_account_causes_a_new_credential() -> None:
    first, second = (NATSKey.generate(Kind.ACCOUNT).public for _ in range(2))
    cluster = issued(broker(described={"nats": NATS["nats"] | {"account": first}}))
    assert changes(cluster) == []
    cluster.put(broker(described={"nats": NATS["nats"] | {"account": second}}))
    see(cluster)
    assert changes(cluster) == [CredentialChange.ISSUE]
    cluster.visit(KEY)
    assert changes(cluster) == []


# Ownership of the Secret


def test_foreign_secret_is_never_overwritten() -> None:
    cluster = observed_market()
    cluster.world.observe_outcome(ForeignFound("Secret", SECRET, cluster.now))
    assert (changes(cluster), condition_of(cluster)[1]) == ([], "Conflict")
    due = cluster.plan(KEY).due
    assert due is not None
    cluster.now = due
    assert changes(cluster) == [CredentialChange.ISSUE]


def test_secret_of_another_type_is_left_alone() -> None:
    cluster = observed_market()
    owner = cluster.objects["ServiceIdentity", CHECKOUT]["metadata"]["uid"]
    found = builders.owned(builders.secret(*reversed(SECRET)), "ServiceIdentity", "checkout")
    found["metadata"]["ownerReferences"] = [{"uid": owner}]
    cluster.put(found)
    assert (changes(cluster), condition_of(cluster)[1]) == ([], "Conflict")
    assert KEY in cluster.drop("Secret", SECRET)
    assert changes(cluster) == [CredentialChange.ISSUE]


def test_second_claim_of_a_secret_name_waits_until_the_name_is_free() -> None:
    """`shop` at `card-main` and `shop-card` at `main` both need Secret `shop-card-main`."""
    policies = [
        orders("one", producers=[producer("shop")], consumers=[], at=("messaging", "card-main")),
        orders("two", producers=[producer("shop-card")], consumers=[]),
    ]
    other = {"kafka": KAFKA["kafka"] | {"bootstrapServers": ["elsewhere:9093"]}}
    cluster = observed_market(
        broker("card-main", described=other),
        publisher("shop", "one"),
        publisher("shop-card", "two"),
        *policies,
    )
    see(cluster, at=Ref("messaging", "card-main"))
    first, second = key_of("shop"), key_of("shop-card")
    cluster.visit(first)
    assert (changes(cluster, second), condition_of(cluster, second)[1]) == ([], "Conflict")
    assert removed(cluster, second) == []
    assert second in cluster.drop("Secret", Ref("shop", "shop-card-main"))
    assert changes(cluster, second) == [CredentialChange.ISSUE]


def test_two_brokers_of_one_name_do_not_alternate_in_one_secret() -> None:
    other = {"kafka": KAFKA["kafka"] | {"bootstrapServers": ["elsewhere:9093"]}}
    beside = Ref("another", "main")
    cluster = observed_market(
        namespace("another", domain="production"),
        broker(namespace="another", described=other),
        publisher("checkout", "orders", "more"),
        orders("more", at=beside, consumers=[]),
    )
    see(cluster, at=beside)
    cluster.visit(KEY)
    before = secret(cluster).resource_version
    holder = secret(cluster).broker
    cluster.visit(KEY)
    assert (secret(cluster).resource_version, secret(cluster).broker) == (before, holder)
    assert condition_of(cluster)[:2] == ("False", "Conflict")
    assert "rename one of them" in condition_of(cluster)[2]


# Deletion


def test_credential_is_deleted_with_the_last_grant() -> None:
    cluster = issued()
    cluster.put(consenting("others"))
    assert removed(cluster) == [SECRET]
    cluster.visit(KEY)
    assert "CredentialsIssued" not in condition_types(cluster)
    assert at_brokers(cluster) == []


def test_credential_is_deleted_with_its_broker() -> None:
    cluster = issued()
    cluster.drop("MessageBroker", MAIN)
    assert removed(cluster) == [SECRET]


def test_credential_is_deleted_if_clients_now_use_certificates() -> None:
    cluster = issued()
    cluster.put(broker(described={"kafka": KAFKA["kafka"] | {"clients": "MTLS"}}))
    assert removed(cluster) == [SECRET]


def _suspend(cluster: Cluster) -> None:
    cluster.put(
        builders.domain("rival", namespaceSelector={"matchLabels": {"domain": "production"}})
    )


def _spoil_policy(cluster: Cluster) -> None:
    cluster.put(orders() | {"spec": {"topic": "none"}})


def _spoil_broker(cluster: Cluster) -> None:
    cluster.put(broker() | {"spec": {"kafka": "none"}})


def _only_observe(cluster: Cluster) -> None:
    cluster.put(broker(mode="Observe"))


def _withdraw_and_lose_ledger(cluster: Cluster) -> None:
    lose_ledger(cluster)
    cluster.put(consenting("others"))


def _retain(cluster: Cluster) -> None:
    cluster.put(broker(retention="Allow"))
    ledger = ledger_of(cluster)
    rules = frozenset(each for each in ledger.rules if each.principal == PUBLISHER)
    keep_ledger(cluster, Ledger(ledger.rules, rules, ledger.credentials))
    cluster.drop("TopicPolicy", Ref("shop", "orders"))


def _delete_what_retains(cluster: Cluster) -> None:
    cluster.put(broker(retention="Allow"))
    kept = orders(onDelete="Retain")
    kept["metadata"] |= {"finalizers": ["troth.dev/broker"]}
    cluster.put(kept)
    cluster.delete("TopicPolicy", Ref("shop", "orders"))


def _delete_broker_that_retains(cluster: Cluster) -> None:
    cluster.put(orders(onDelete="Retain"))
    cluster.drop("MessageBroker", MAIN)


@pytest.mark.parametrize(
    "event",
    [
        _suspend,
        _spoil_policy,
        _spoil_broker,
        _only_observe,
        _withdraw_and_lose_ledger,
        _retain,
        _delete_what_retains,
        _delete_broker_that_retains,
    ],
    ids=lambda each: each.__name__.strip("_"),
)
def test_credential_is_unchanged_while_it_may_be_needed(event: Any) -> None:
    cluster = issued()
    event(cluster)
    cluster.put(rotation(target="checkout", requestedAt=stamp(cluster.now + HOUR)))
    wait(cluster, 2 * HOUR)
    assert (removed(cluster), changes(cluster)) == ([], [])


# Rotation


def request_rotation(cluster: Cluster, **spec: Any) -> Cluster:
    """Request another credential."""
    wait(cluster, HOUR)
    cluster.put(rotation(target="checkout", **{"requestedAt": stamp(cluster.now)} | spec))
    return cluster


def phase(cluster: Cluster) -> str:
    status = cluster.plan(ROTATION).status
    assert status is not None
    (listed,) = at_brokers(cluster)
    assert listed["phase"] == status["phase"]
    return str(listed["phase"])


def test_credential_is_rotated_without_a_gap() -> None:
    cluster = request_rotation(issued())
    old = secret(cluster).current
    assert old is not None
    assert changes(cluster) == [CredentialChange.PREPARE]
    cluster.visit(KEY)
    upcoming = secret(cluster).next
    assert upcoming is not None
    assert upcoming.slot is old.slot.other
    assert secret(cluster).current == old
    assert (changes(cluster), phase(cluster)) == ([], "Prepared"), "the broker is not told yet"

    sync_broker(cluster)
    assert changes(cluster) == [CredentialChange.ACTIVATE]
    cluster.visit(KEY)
    assert (secret(cluster).current, secret(cluster).retiring) == (upcoming, old)
    assert (changes(cluster), phase(cluster)) == ([], "Overlapping")
    due = cluster.plan(KEY).due
    assert due == cluster.now + PROPAGATION

    wait(cluster, PROPAGATION - timedelta(seconds=1))
    assert changes(cluster) == []
    wait(cluster, timedelta(seconds=1))
    assert changes(cluster) == [CredentialChange.RETIRE]
    cluster.visit(KEY)
    assert secret(cluster).held == (upcoming,)
    assert phase(cluster) == "Retiring", "the broker still has the old one"

    ledger = ledger_of(cluster)
    keep_ledger(cluster, replace(ledger, credentials={SECOND: upcoming.fingerprint}))
    assert (changes(cluster), phase(cluster)) == ([], "Idle")
    assert at_brokers(cluster)[0]["madeAt"] == stamp(upcoming.made_at)


def test_ledger_change_invalidates_its_identity() -> None:
    cluster = request_rotation(issued())
    cluster.visit(KEY)
    upcoming = secret(cluster).next
    assert upcoming is not None
    ledger = ledger_of(cluster)
    keep_ledger(cluster, replace(ledger, credentials={**ledger.credentials, SECOND: ""}))
    assert changes(cluster) == [], "it is being told"
    stored = copy.deepcopy(
        next(each for (kind, _), each in cluster.objects.items() if kind == "ConfigMap")
    )
    affected = cluster.drop("ConfigMap", Ref.of(stored))
    assert {KEY, ROTATION} <= affected


def test_longer_overlap_is_respected() -> None:
    cluster = request_rotation(issued(), overlap="2h")
    cluster.visit(KEY)
    sync_broker(cluster)
    cluster.visit(KEY)
    wait(cluster, 2 * HOUR - timedelta(seconds=1))
    assert changes(cluster) == []
    wait(cluster, timedelta(seconds=1))
    assert changes(cluster) == [CredentialChange.RETIRE]


def test_clock_set_forward_shortens_no_overlap() -> None:
    cluster = request_rotation(issued())
    cluster.visit(KEY)
    sync_broker(cluster)
    cluster.visit(KEY)
    cluster.now += DAY
    assert changes(cluster) == []


def test_slot_is_not_reused_before_its_old_credential_is_revoked() -> None:
    cluster = issued()
    ledger = ledger_of(cluster)
    keep_ledger(cluster, replace(ledger, credentials={**ledger.credentials, SECOND: "old"}))
    request_rotation(cluster)
    assert changes(cluster) == []
    keep_ledger(cluster, ledger)
    assert changes(cluster) == [CredentialChange.PREPARE]


def test_old_credential_is_kept_until_the_broker_has_the_new_one() -> None:
    cluster = request_rotation(issued())
    cluster.visit(KEY)
    sync_broker(cluster)
    cluster.visit(KEY)
    lose_ledger(cluster)
    wait(cluster, DAY)
    assert changes(cluster) == []


def test_unreachable_broker_is_named_as_the_blocker() -> None:
    cluster = request_rotation(issued())
    cluster.visit(KEY)
    status = cluster.plan(ROTATION).status
    assert status is not None
    assert status["blockers"] == [], "it is only on its way"
    lose_sight(cluster)
    status = cluster.plan(ROTATION).status
    assert status is not None
    assert DOWN.message in status["blockers"][0]


def test_rotation_without_room_in_the_ledger_names_it_as_the_blocker() -> None:
    cluster = request_rotation(issued())
    cluster.visit(KEY)
    told = cluster.objects["MessageBroker", MAIN]
    affected = cluster.put(told | {"status": {"rotationsWithoutRoom": 1}})
    assert {KEY, ROTATION} <= affected
    status = cluster.plan(ROTATION).status
    assert status is not None
    (blocker,) = status["blockers"]
    assert "its ledger has no room for it" in blocker
    assert KEY not in cluster.put(told | {"status": {"rotationsWithoutRoom": 2}})
    assert {KEY, ROTATION} <= cluster.put(told | {"status": {}})
    status = cluster.plan(ROTATION).status
    assert status is not None
    assert status["blockers"] == [], "it is only on its way"


def test_interval_counts_from_when_the_credential_was_made() -> None:
    cluster = issued(rotation(target="checkout", every="6h"))
    assert changes(cluster) == []
    wait(cluster, 6 * HOUR - timedelta(seconds=1))
    assert changes(cluster) == []
    wait(cluster, timedelta(seconds=1))
    assert changes(cluster) == [CredentialChange.PREPARE]


def test_identity_without_certificate_can_have_its_credential_rotated() -> None:
    legacy = publisher(authentication=builders.gateway_only("gateway", builders.NOW + DAY))
    cluster = request_rotation(issued(legacy))
    assert changes(cluster) == [CredentialChange.PREPARE]
    cluster.visit(KEY)
    assert phase(cluster) == "Prepared"
    assert cluster.condition(ROTATION, "Ready")["status"] == "True"


# Any order of events


class Turning:
    """Credential of an identity while everything around it changes.

    The checks use the credentials that clients read and that the broker has, not the plan.
    """

    def __init__(self) -> None:
        self.cluster = observed_market()
        self.clients = ""
        """Fingerprint that clients read."""

    def visit(self) -> None:
        """Carry out one plan and check the precondition of each step."""
        brokers = self.cluster.world.brokers
        for step in self.cluster.plan(KEY).steps:
            if not isinstance(step, ChangeCredential):
                continue
            ledger = brokers.ledger(MAIN)
            good = ledger.credentials if ledger is not None else {}
            self.cluster.carry_out(step)
            after = secret(self.cluster)
            current = after.current
            assert current is not None
            if step.change is not CredentialChange.ISSUE and current.fingerprint != self.clients:
                assert good.get((PUBLISHER, current.slot)) == current.fingerprint, "told first"
            if step.change is CredentialChange.PREPARE:
                assert after.next is not None
                assert (PUBLISHER, after.next.slot) not in good, "a slot that is not free"
            if step.change is CredentialChange.RETIRE:
                assert good.get((PUBLISHER, current.slot)) == current.fingerprint
            self.clients = current.fingerprint

    def the_broker_is_brought_into_step(self) -> None:
        sync_broker(self.cluster)
        ledger = ledger_of(self.cluster)
        held = secret(self.cluster).held if SECRET in self.cluster.world.brokers.secrets else ()
        wanted = {(PUBLISHER, each.slot): each.fingerprint for each in held}
        others = {key: kept for key, kept in ledger.credentials.items() if key[0] != PUBLISHER}
        keep_ledger(self.cluster, replace(ledger, credentials=others | wanted))

    def it_begins_to_tell_and_does_not_end(self) -> None:
        ledger = self.cluster.world.brokers.ledger(MAIN)
        if ledger is not None:
            beginning = dict.fromkeys([FIRST, SECOND], "")
            credentials = beginning | dict(ledger.credentials)
            keep_ledger(self.cluster, replace(ledger, credentials=credentials))

    def the_ledger_is_lost(self) -> None:
        if self.cluster.world.brokers.ledger(MAIN) is not None:
            lose_ledger(self.cluster)

    def somebody_asks(self) -> None:
        wait(self.cluster, timedelta(seconds=1))
        asking = rotation(target="checkout", requestedAt=stamp(self.cluster.now))
        self.cluster.put(asking)

    def time_passes(self) -> None:
        wait(self.cluster, PROPAGATION)

    def the_operator_is_restarted(self) -> None:
        objects = list(self.cluster.objects.values())
        before = self.cluster
        self.cluster = Cluster(now=before.now, version=before.version)
        for each in objects:
            self.cluster.see(copy.deepcopy(each))
        see(self.cluster)

    def somebody_changes_the_secret(self) -> None:
        if SECRET in self.cluster.world.brokers.secrets:
            spoil(self.cluster, password="x")

    def somebody_deletes_the_secret(self) -> None:
        if SECRET in self.cluster.world.brokers.secrets:
            self.cluster.drop("Secret", SECRET)

    def rest(self) -> None:
        """Check that an undisturbed credential settles as the only one, and the broker has it."""
        for _ in range(12):
            self.visit()
            self.the_broker_is_brought_into_step()
            wait(self.cluster, PROPAGATION)
        (current,) = secret(self.cluster).held
        credentials = ledger_of(self.cluster).credentials
        kept = {place: each for place, each in credentials.items() if place[0] == PUBLISHER}
        assert kept == {(PUBLISHER, current.slot): current.fingerprint}
        assert changes(self.cluster) == []


OFTEN = [Turning.visit, Turning.the_broker_is_brought_into_step, Turning.somebody_asks]
SELDOM = [
    Turning.it_begins_to_tell_and_does_not_end,
    Turning.the_ledger_is_lost,
    Turning.time_passes,
    Turning.the_operator_is_restarted,
    Turning.somebody_changes_the_secret,
    Turning.somebody_deletes_the_secret,
]


@given(st.lists(st.sampled_from([*OFTEN, *OFTEN, *OFTEN, *SELDOM]), max_size=40))
def test_broker_always_has_a_credential_before_its_client(events: list[Any]) -> None:
    it = Turning()
    it.visit()
    for event in events:
        event(it)
    it.rest()
