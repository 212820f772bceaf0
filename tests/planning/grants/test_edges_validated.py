"""Clients that are seen without the guard are named in the status of their policy."""

import dataclasses
from typing import Any

import pytest

from tests.broker_builders import (
    CHECKOUT,
    CONSUMER,
    DOWN,
    FULFILMENT,
    ORDERS,
    PUBLISHER,
    give_credentials,
    lose_sight,
    market,
    orders,
    publisher,
    see,
    see_clients,
    subscriber,
    sync_broker,
)
from tests.builders import Cluster, Manifest
from tests.messaging import MQTT, NATS, broker, consumer
from troth.brokers.clients import Client, Clients, client_of
from troth.documents.client_name import client_name
from troth.planning.grants.edges_validated import EDGES_VALIDATED
from troth.reconcile.events.transitions import transitions
from troth.trust.grants import Action
from troth.world.facts.clients import COUNTS_FOR
from troth.world.facts.objects import Fault
from troth.world.keys import policy_key

KEY = policy_key(ORDERS)
TOPIC = "prod.orders.v1"
GUARDED = client_name([str(ORDERS)])
OTHERWISE = client_name(["shop/other"])
CONTEXT: Manifest = {"context": {"require": ["Actor"]}}
SCHEMA: Manifest = {"schema": {"jsonSchema": {"type": "object"}}}
HIDDEN = Fault("AdminRefused", "Kafka does not allow the operator to describe groups")


def guarded_market(*manifests: Manifest, **spec: Any) -> Cluster:
    """Return a market in sync whose policy needs the guard."""
    declared = orders(**(spec or CONTEXT))
    cluster = market(declared, *manifests)
    give_credentials(cluster, CHECKOUT, FULFILMENT)
    cluster.visit(KEY)
    sync_broker(cluster)
    cluster.visit(KEY)
    return cluster


def member(name: str, group: str = "fulfilment", topics: tuple[str, ...] = (TOPIC,)) -> Client:
    return client_of(name, group=group, topics=topics, actions=(Action.CONSUME,))


def user(name: str, principal: str = CONSUMER, *actions: Action) -> Client:
    return client_of(name, principal=principal, actions=actions or (Action.CONSUME,))


def show(cluster: Cluster, *clients: Client, **hidden: str) -> None:
    see_clients(cluster, Clients(frozenset(clients), hidden))


def told(cluster: Cluster) -> tuple[str, str, str]:
    found = cluster.condition(KEY, EDGES_VALIDATED)
    return found["status"], found["reason"], found["message"]


def enforced(cluster: Cluster) -> str | None:
    """Return where the policy is enforced for its consumer."""
    status = cluster.plan(KEY).status
    assert status is not None
    (found,) = (each for each in status["grants"] if each["action"] == "Consume")
    where: str | None = found.get("enforcement")
    return where


@pytest.mark.parametrize("spec", [CONTEXT, SCHEMA])
def test_policy_with_context_or_schema_says_whether_its_edges_validate(spec: Manifest) -> None:
    cluster = guarded_market(**spec)
    show(cluster, member(GUARDED))
    assert told(cluster)[:2] == ("True", "AllConsumersValidate")
    assert enforced(cluster) == "Edge"


def test_policy_without_context_and_schema_needs_no_guard() -> None:
    cluster = guarded_market(deadLetter={"topic": "prod.dead"})
    show(cluster, member("rdkafka"))
    status = cluster.plan(KEY).status
    assert status is not None
    assert EDGES_VALIDATED not in [each["type"] for each in status["conditions"]]
    assert enforced(cluster) is None


def test_consumer_without_the_guard_is_named_with_what_to_do() -> None:
    cluster = guarded_market()
    show(cluster, member("rdkafka"))
    message = (
        "consumers without Troth's guard for events are connected to MessageBroker messaging/main: "
        'shop/fulfilment (group fulfilment, client named "rdkafka"); use troth.edge.events there, '
        "or nothing checks their messages"
    )
    assert told(cluster) == ("False", "UnvalidatedConsumer", message)
    assert enforced(cluster) == "Broker"
    assert cluster.condition(KEY, "Ready")["status"] == "True"


def test_one_member_without_the_guard_among_others_is_named() -> None:
    cluster = guarded_market()
    show(cluster, member(GUARDED), member("rdkafka"))
    assert told(cluster)[:2] == ("False", "UnvalidatedConsumer")
    assert enforced(cluster) == "Broker"


def test_connection_at_nats_is_named_by_its_principal() -> None:
    cluster = guarded_market(broker(described=NATS))
    show(cluster, user("", CONSUMER))
    status, reason, message = told(cluster)
    assert (status, reason) == ("False", "UnvalidatedConsumer")
    assert "shop/fulfilment (client without name)" in message


@pytest.mark.parametrize(
    "client",
    [
        member("rdkafka", group="other"),
        member("rdkafka", topics=("prod.other",)),
        member(OTHERWISE, topics=("prod.other",)),
        member(OTHERWISE, topics=()),
        user("x", "troth-shop.other"),
        user("x", CONSUMER, Action.PUBLISH),
        user(OTHERWISE, CONSUMER, Action.PUBLISH),
    ],
)
def test_client_that_consumes_something_else_does_not_count(client: Client) -> None:
    cluster = guarded_market()
    show(cluster, client)
    assert told(cluster)[:2] == ("Unknown", "NoConsumerSeen")
    show(cluster, client, member(GUARDED))
    assert told(cluster)[:2] == ("True", "AllConsumersValidate")


def test_connection_with_the_guard_for_another_policy_may_consume_unseen() -> None:
    cluster = guarded_market(broker(described=NATS))
    show(cluster, user(OTHERWISE))
    status, reason, message = told(cluster)
    assert (status, reason) == ("Unknown", "NotObservable")
    assert "does not show what shop/fulfilment receives" in message
    assert enforced(cluster) == "Broker"
    show(cluster, user(OTHERWISE), user("x"))
    assert told(cluster)[:2] == ("False", "UnvalidatedConsumer")


def test_identity_may_have_a_connection_for_each_policy() -> None:
    cluster = guarded_market(broker(described=NATS))
    show(cluster, user(OTHERWISE), user(GUARDED))
    assert told(cluster)[:2] == ("True", "AllConsumersValidate")
    assert enforced(cluster) == "Edge"


def test_member_with_the_guard_for_another_policy_only_is_named() -> None:
    cluster = guarded_market()
    show(cluster, member(OTHERWISE))
    status, reason, message = told(cluster)
    assert (status, reason) == ("False", "UnvalidatedConsumer")
    assert "with the guard for other policies" in message


@pytest.mark.parametrize("topics", [(), ("prod.a",), ("other", "prod.a")])
def test_member_whose_topics_may_be_those_of_a_prefix_is_named(topics: tuple[str, ...]) -> None:
    cluster = guarded_market(topic={"prefix": "prod."}, **CONTEXT)
    show(cluster, member("rdkafka", topics=topics))
    assert told(cluster)[:2] == ("False", "UnvalidatedConsumer")


def test_guard_that_cannot_name_all_its_policies_counts() -> None:
    cluster = guarded_market()
    show(cluster, member("troth-events/1 shop/other +"))
    assert told(cluster)[:2] == ("True", "AllConsumersValidate")


def test_several_consumers_are_named_and_one_with_the_guard_is_not() -> None:
    names = [f"c{number}" for number in range(8)]
    cluster = market(
        *(subscriber(name) for name in names),
        orders(consumers=[consumer(name, f"g-{name}") for name in names], **CONTEXT),
    )
    cluster.settle()
    see(cluster)
    show(cluster, member(GUARDED, "g-c0"), *(member("x", f"g-{name}") for name in names[1:]))
    message = told(cluster)[2]
    assert "shop/c1 (" in message
    assert "shop/c5 (" in message
    assert " and others;" in message
    assert "shop/c0" not in message
    status = cluster.plan(KEY).status
    assert status is not None
    assert {each["identity"]: each.get("enforcement") for each in status["grants"]} == {
        "shop/checkout": None,
        "shop/fulfilment": None,
        "shop/c0": "Edge",
        **{f"shop/{name}": "Broker" for name in names[1:]},
    }


# Producers


def test_producer_without_the_guard_is_named() -> None:
    cluster = guarded_market(broker(described=NATS))
    show(cluster, user(GUARDED), user("p", PUBLISHER, Action.PUBLISH))
    status, reason, message = told(cluster)
    assert (status, reason) == ("False", "UnvalidatedProducer")
    assert 'shop/checkout (client named "p")' in message
    assert enforced(cluster) == "Edge"


def test_producer_that_also_has_the_guard_may_publish_elsewhere_without_it() -> None:
    cluster = guarded_market(broker(described=NATS))
    plain, sealing = (user(name, PUBLISHER, Action.PUBLISH) for name in ("p", GUARDED))
    show(cluster, user(GUARDED), plain, sealing)
    assert told(cluster)[:2] == ("True", "AllConsumersValidate")


def test_dead_letters_make_a_consumer_no_producer() -> None:
    nats = broker(described=NATS)
    cluster = guarded_market(nats, deadLetter={"topic": "prod.dead"}, **CONTEXT)
    show(cluster, user("p", CONSUMER, Action.PUBLISH))
    assert told(cluster)[:2] == ("Unknown", "NoConsumerSeen")


# Unknown


def test_nothing_is_said_before_the_first_observation() -> None:
    cluster = guarded_market()
    assert told(cluster)[:2] == ("Unknown", "NotSeenYet")
    assert enforced(cluster) == "Broker"


def test_verdict_of_an_earlier_process_stays_until_the_first_observation() -> None:
    cluster = guarded_market()
    show(cluster, member(GUARDED))
    cluster.visit(KEY)
    see(cluster)  # as after a restart
    assert told(cluster)[:2] == ("True", "AllConsumersValidate")
    assert enforced(cluster) == "Edge"
    cluster.put(orders(consumers=[consumer("fulfilment", "packing")], **CONTEXT))
    assert told(cluster)[:2] == ("Unknown", "NotSeenYet")


@pytest.mark.parametrize("clients", [(), (member(GUARDED),), (member("rdkafka"),)])
def test_clients_of_an_unreachable_broker_are_unknown(clients: tuple[Client, ...]) -> None:
    cluster = guarded_market()
    show(cluster, *clients)
    lose_sight(cluster)
    status, reason, message = told(cluster)
    assert (status, reason) == ("Unknown", "NotObservable")
    assert DOWN.message in message
    assert enforced(cluster) == "Broker"


@pytest.mark.parametrize("clients", [(), (member(GUARDED),), (member("rdkafka"),)])
def test_clients_that_the_broker_does_not_show_are_unknown(clients: tuple[Client, ...]) -> None:
    cluster = guarded_market()
    show(cluster, *clients)
    see_clients(cluster, HIDDEN)
    status, reason, message = told(cluster)
    assert (status, reason) == ("Unknown", "NotObservable")
    assert HIDDEN.message in message
    assert enforced(cluster) == "Broker"
    assert cluster.condition(KEY, "GrantsInSync")["status"] == "True"


def test_consumers_in_a_hidden_group_are_unknown_though_others_validate() -> None:
    cluster = guarded_market()
    show(cluster, member(GUARDED), fulfilment="the operator may not describe group fulfilment")
    assert told(cluster)[:2] == ("Unknown", "NotObservable")
    show(cluster, member("rdkafka"), fulfilment="the operator may not describe group fulfilment")
    assert told(cluster)[:2] == ("False", "UnvalidatedConsumer")
    cluster = guarded_market()
    show(cluster, member(GUARDED), other="the operator may not describe group other")
    assert told(cluster)[:2] == ("True", "AllConsumersValidate")


def test_broker_of_a_type_that_troth_does_not_administer_is_not_observable() -> None:
    cluster = guarded_market(broker(described=MQTT))
    assert told(cluster)[:2] == ("Unknown", "NotObservable")


# Time


def test_consumer_without_the_guard_stays_named_until_it_was_not_seen_for_a_while() -> None:
    cluster = guarded_market()
    show(cluster, member("rdkafka"))
    cluster.uptime += COUNTS_FOR - 1
    show(cluster, member(GUARDED))
    assert told(cluster)[:2] == ("False", "UnvalidatedConsumer")
    cluster.uptime += 1
    show(cluster, member(GUARDED))
    assert told(cluster)[:2] == ("True", "AllConsumersValidate")


def test_consumer_that_reconnects_changes_nothing() -> None:
    cluster = guarded_market()
    show(cluster, member(GUARDED))
    made = cluster.report(KEY)
    cluster.uptime += 60
    show(cluster)
    assert cluster.plan(KEY).status == made.status
    cluster.uptime += COUNTS_FOR
    show(cluster)
    assert told(cluster)[:2] == ("Unknown", "NoConsumerSeen")


def test_clients_of_before_count_again_after_an_outage() -> None:
    cluster = guarded_market()
    show(cluster, member("rdkafka"))
    see_clients(cluster, HIDDEN)
    cluster.uptime += 60
    show(cluster)
    assert told(cluster)[:2] == ("False", "UnvalidatedConsumer")


def test_restarted_operator_keeps_a_consumer_named_that_it_has_not_seen_itself() -> None:
    cluster = guarded_market()
    show(cluster, member("rdkafka"))
    cluster.visit(KEY)
    before = told(cluster)
    see(cluster)  # as after a restart
    cluster.uptime += 5
    show(cluster, member(GUARDED))
    assert told(cluster) == before
    assert enforced(cluster) == "Broker"
    due = cluster.plan(KEY).due
    assert due is not None
    cluster.uptime += (due - cluster.now).total_seconds()
    assert told(cluster)[:2] == ("True", "AllConsumersValidate")
    assert enforced(cluster) == "Edge"
    assert cluster.plan(KEY).due is None


def test_status_does_not_change_with_the_names_of_clients() -> None:
    cluster = guarded_market()
    show(cluster, member("pod-5"))
    before = cluster.report(KEY).status
    show(cluster, member("pod-5"), member("pod-1"))
    assert cluster.plan(KEY).status == before
    cluster.uptime += COUNTS_FOR
    show(cluster, member("pod-1"))
    assert "pod-1" in told(cluster)[2]


# Events


def test_each_transition_raises_one_event() -> None:
    cluster = guarded_market()

    def raised(*clients: Client) -> list[tuple[str, str]]:
        show(cluster, *clients)
        found: list[tuple[str, str]] = [
            (each.reason, each.type) for each in transitions(cluster.plan(KEY))
        ]
        cluster.report(KEY)
        assert not list(transitions(cluster.plan(KEY)))
        return found

    assert raised(member(GUARDED)) == []
    assert raised(member("rdkafka")) == [("UnvalidatedConsumer", "Warning")]
    assert raised(member("rdkafka"), member("a")) == []
    cluster.uptime += COUNTS_FOR
    assert raised(member(GUARDED)) == [("AllConsumersValidate", "Normal")]
    cluster.uptime += COUNTS_FOR
    assert raised() == []


def test_hostile_client_name_is_escaped_in_the_message() -> None:
    cluster = guarded_market()
    show(cluster, member("\x1b[2J" + "x" * 10_000))
    message = told(cluster)[2]
    assert message.isprintable()
    assert message.isascii()
    assert len(message) < 500


def test_client_name_cannot_end_its_quotation() -> None:
    cluster = guarded_market()
    show(cluster, member('x"); the guard is in use'))
    assert """(group fulfilment, client named "x'); the guard is in use");""" in told(cluster)[2]


# Affected keys


def test_policy_is_affected_when_its_clients_change() -> None:
    cluster = guarded_market(publisher("other", "other"), orders("other"))
    same = Clients(frozenset({member(GUARDED)}))
    assert KEY in see_clients(cluster, same)
    assert see_clients(cluster, same) == set()
    assert see_clients(cluster, Clients(same.seen | {member("rdkafka")})) == {KEY}
    assert see_clients(cluster, Clients(same.seen, {"fulfilment": "no"})) == {KEY}
    assert see_clients(cluster, Clients(same.seen, {"fulfilment": "no"})) == set()
    assert see_clients(cluster, dataclasses.replace(same)) == {KEY}
    assert see_clients(cluster, Clients(frozenset({member("x", "somebodys")}))) == set()
    assert see_clients(cluster, HIDDEN) == {KEY}
    assert see_clients(cluster, HIDDEN) == set()
    assert see_clients(cluster, None) == {KEY}
