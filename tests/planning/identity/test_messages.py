"""Messages in `identity.json`: what an identity may publish and consume, with the requirements."""

import json
from base64 import b64encode
from typing import Any

import pytest

from tests.builders import DAY, NOW, Cluster, Manifest, accept, gateway_only, identity, shop
from tests.messaging import NATS, broker, consumer, older_claim, policy, producer
from troth.documents.identity.document import parse_document
from troth.planning.steps.certificates import UpdatePublic
from troth.resources.references import Ref
from troth.world.keys import identity_key
from troth.world.observation.objects import decoded

SCHEMA = {"type": "object", "required": ["id"], "properties": {"total": {"multipleOf": 0.01}}}
ORDERS: dict[str, Any] = {
    "producers": [producer("checkout")],
    "consumers": [consumer("fulfilment", "fulfilment")],
    "schema": {"jsonSchema": SCHEMA},
    "context": {"require": ["Tenant", "Actor"]},
    "deadLetter": {"topic": "prod.orders.v1.dlq", "review": "Required"},
}
CHECKOUT = "spiffe://production.example/ns/shop/sa/till"


def names(*policies: str) -> list[Manifest]:
    return [{"policy": {"name": each}} for each in policies]


def checkout(**spec: Any) -> Manifest:
    return identity("checkout", **{"account": "till", "publishes": names("orders")} | spec)


def fulfilment(**spec: Any) -> Manifest:
    return identity("fulfilment", **{"consumes": names("orders")} | spec)


def stage(*others: Manifest, **changed: Any) -> Cluster:
    """Return a broker, the policy `orders`, its publisher and its consumer."""
    return shop(broker(), policy(**ORDERS | changed), checkout(), fulfilment(), *others)


def document(cluster: Cluster, name: str) -> str:
    secret = cluster.settle().objects["Secret", Ref("shop", f"{name}-identity")]
    return decoded(secret)["identity.json"].decode()


def entries_of(cluster: Cluster, name: str) -> list[dict[str, Any]]:
    """Return the message entries of an identity's document, as the edge library parses them."""
    text = document(cluster, name)
    found: list[dict[str, Any]] = json.loads(text).get("messages", [])
    assert len(parse_document(text).messages) == len(found)
    return found


def texts_of(entry: dict[str, Any]) -> list[Any]:
    """Return the schemas of an entry, the current one first."""
    return [json.loads(each["text"]) for each in entry["schemas"]]


def test_publisher_gets_the_schema_and_the_required_context() -> None:
    (entry,) = entries_of(stage(), "checkout")
    assert texts_of(entry) == [SCHEMA]
    assert [each["type"] for each in entry.pop("schemas")] == ["JSONSchema"]
    assert entry == {
        "policy": "shop/orders",
        "action": "Publish",
        "broker": "messaging/main",
        "type": "kafka",
        "topic": "prod.orders.v1",
        "principal": "troth-shop.checkout",
        "environment": "production",
        "context": {"require": ["Actor", "Tenant"], "evidence": "Producer", "maxAge": 604_800},
    }


def test_consumer_also_gets_the_producers_and_the_dead_letter_topic() -> None:
    (entry,) = entries_of(stage(), "fulfilment")
    assert texts_of(entry) == [SCHEMA]
    del entry["schemas"]
    assert entry == {
        "policy": "shop/orders",
        "action": "Consume",
        "group": "fulfilment",
        "broker": "messaging/main",
        "type": "kafka",
        "topic": "prod.orders.v1",
        "principal": "troth-shop.fulfilment",
        "environment": "production",
        "context": {"require": ["Actor", "Tenant"], "evidence": "Producer", "maxAge": 604_800},
        "deadLetter": {"topic": "prod.orders.v1.dlq", "review": "Required"},
        "producers": [CHECKOUT],
    }


def test_prefix_and_stream_are_listed_and_undeclared_fields_are_left_out() -> None:
    cluster = shop(
        broker(described=NATS, more={"streams": ["ORDERS"]}),
        policy(
            topic={"prefix": "prod.orders.", "stream": "ORDERS"}, producers=[producer("checkout")]
        ),
        checkout(),
    )
    (entry,) = entries_of(cluster, "checkout")
    assert (entry["prefix"], entry["stream"]) == ("prod.orders.", "ORDERS")
    assert entry["type"] == "nats"
    assert entry["context"] == {"require": [], "evidence": "Producer", "maxAge": 604_800}
    absent = {"topic", "schemas", "schemaFault", "deadLetter", "producers", "group", "tenants"}
    assert not absent & {*entry}


def test_evidence_and_maximum_age_are_listed_on_both_sides() -> None:
    declared = {"require": ["Subject"], "evidence": "TransactionToken", "maxAge": "1h30m"}
    cluster = stage(context=declared)
    for name in ("checkout", "fulfilment"):
        (entry,) = entries_of(cluster, name)
        expected = {"require": ["Subject"], "evidence": "TransactionToken", "maxAge": 5400}
        assert entry["context"] == expected


def test_each_consumer_gets_its_own_tenants() -> None:
    mine = consumer("fulfilment", "fulfilment") | {"tenants": ["globex", "acme"]}
    cluster = stage(consumers=[mine, consumer("fulfilment", "other")])
    narrowed, whole = entries_of(cluster, "fulfilment")
    assert narrowed["tenants"] == ["acme", "globex"]
    assert (whole["group"], whole.get("tenants")) == ("other", None)
    (published,) = entries_of(cluster, "checkout")
    assert "tenants" not in published


def test_consumer_that_is_listed_twice_is_not_widened() -> None:
    listed = consumer("fulfilment", "fulfilment")
    cluster = stage(consumers=[listed | {"tenants": ["acme"]}, listed, listed | {"tenants": ["b"]}])
    (entry,) = entries_of(cluster, "fulfilment")
    assert entry["tenants"] == ["acme", "b"]


def test_document_of_an_identity_without_topics_is_unchanged() -> None:
    alone = document(shop(checkout(publishes=[])), "checkout")
    assert document(stage(checkout(publishes=[])), "checkout") == alone
    assert "messages" not in alone


@pytest.mark.parametrize(
    "changed",
    [
        {"producers": [], "consumers": []},
        {"environment": "staging"},
        {"topic": {"name": "elsewhere.orders"}},
        {"brokerRef": {"name": "other"}},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_grant_that_is_not_live_is_not_listed(changed: dict[str, Any]) -> None:
    cluster = stage(**changed)
    assert entries_of(cluster, "checkout") == []
    assert entries_of(cluster, "fulfilment") == []


def test_withdrawn_grant_is_removed_on_both_sides() -> None:
    cluster = stage()
    assert entries_of(cluster, "fulfilment")[0]["producers"] == [CHECKOUT]
    affected = cluster.put(checkout(publishes=[]))
    assert identity_key(Ref("shop", "fulfilment")) in affected
    assert entries_of(cluster, "fulfilment")[0]["producers"] == []
    assert entries_of(cluster, "checkout") == []


def test_renamed_producer_updates_the_consumers_document() -> None:
    cluster = stage()
    entries_of(cluster, "fulfilment")
    affected = cluster.put(checkout(account="desk"))
    assert identity_key(Ref("shop", "fulfilment")) in affected
    assert entries_of(cluster, "fulfilment")[0]["producers"] == [CHECKOUT.replace("till", "desk")]


def test_producer_without_a_certificate_is_not_listed() -> None:
    trust = gateway_only("gateway", NOW + DAY)
    cluster = stage(checkout(ports=["https"], accepts=[accept("gateway")], authentication=trust))
    assert entries_of(cluster, "fulfilment")[0]["producers"] == []


# Suspended grants


def in_dispute() -> Manifest:
    """Return a broker with the same servers and principals, which suspends the grants."""
    return broker("rival")


def unreadable() -> Manifest:
    return policy(**ORDERS | {"topic": {"name": "*"}})


@pytest.mark.parametrize("name", ["checkout", "fulfilment"])
def test_suspended_grant_stays_and_nothing_new_is_added(name: str) -> None:
    cluster = stage()
    before = entries_of(cluster, name)
    cluster.put(in_dispute())
    assert entries_of(cluster, name) == before
    cluster.put(policy(**ORDERS | {"topic": {"name": "prod.orders.v2"}}))
    assert entries_of(cluster, name) == []
    assert entries_of(stage(in_dispute()), name) == []


@pytest.mark.parametrize("name", ["checkout", "fulfilment"])
def test_everything_stays_while_a_policy_or_broker_is_unreadable(name: str) -> None:
    for broken in (unreadable(), broker(owns=[])):
        cluster = stage()
        before = entries_of(cluster, name)
        cluster.put(broken)
        assert cluster.world.unreadable
        assert entries_of(cluster, name) == before


def test_grant_withdrawn_by_the_policy_is_removed_at_an_unreadable_broker() -> None:
    cluster = stage()
    entries_of(cluster, "fulfilment")
    cluster.put(broker(owns=[]))
    cluster.put(policy(**ORDERS | {"consumers": [consumer("fulfilment", "others")]}))
    assert entries_of(cluster, "fulfilment") == []


def test_withdrawn_producer_is_removed_from_a_suspended_grant() -> None:
    cluster = stage()
    entries_of(cluster, "fulfilment")
    cluster.put(unreadable())
    cluster.put(checkout(publishes=[]))
    assert entries_of(cluster, "fulfilment")[0]["producers"] == []


def test_producer_is_not_added_to_a_suspended_grant() -> None:
    cluster = stage()
    before = entries_of(cluster, "fulfilment")
    cluster.put(unreadable())
    cluster.put(identity("desk", publishes=names("orders")))
    assert entries_of(cluster, "fulfilment") == before
    assert entries_of(cluster, "desk") == []


def test_kept_entries_are_written_only_over_the_document_they_come_from() -> None:
    cluster = stage()
    document(cluster, "fulfilment")
    cluster.put(in_dispute())
    cluster.put(policy(**ORDERS | {"context": {"require": ["Subject"]}}))
    key = identity_key(Ref("shop", "fulfilment"))
    (step,) = (each for each in cluster.plan(key).steps if isinstance(each, UpdatePublic))
    secret = cluster.objects["Secret", Ref("shop", "fulfilment-identity")]
    assert step.over == secret["metadata"]["resourceVersion"]


def test_dead_letter_topic_that_the_broker_lost_is_removed() -> None:
    elsewhere = {"topic": "dead.orders", "review": "Optional"}
    cluster = stage(broker(owns=["prod.", "dead."]), deadLetter=elsewhere)
    assert entries_of(cluster, "fulfilment")[0]["deadLetter"] == elsewhere
    cluster.put(broker(owns=["prod."]))
    assert "deadLetter" not in entries_of(cluster, "fulfilment")[0]


def test_suspended_dead_letter_is_kept_only_if_it_was_listed() -> None:
    cluster = stage()
    before = entries_of(cluster, "fulfilment")
    rivals = older_claim("prod.orders.v1.dlq")
    for each in rivals:
        cluster.put(each)
    assert entries_of(cluster, "fulfilment") == before
    (entry,) = entries_of(stage(*rivals), "fulfilment")
    assert "deadLetter" not in entry
    assert entry["topic"] == "prod.orders.v1"


def test_entry_of_an_earlier_version_does_not_stay_while_its_policy_is_unreadable() -> None:
    """The edge would reject the whole document, and keep what was revoked since."""
    cluster = stage()
    secret = cluster.settle().objects["Secret", Ref("shop", "fulfilment-identity")]
    older = json.loads(decoded(secret)["identity.json"])
    del older["messages"][0]["environment"]
    data = {**secret["data"], "identity.json": b64encode(json.dumps(older).encode()).decode()}
    cluster.put(unreadable())
    cluster.put({**secret, "data": data})
    assert entries_of(cluster, "fulfilment") == []


def test_document_does_not_depend_on_the_order_of_declarations() -> None:
    declared = [broker(), policy(**ORDERS), checkout(), fulfilment()]
    for name in ("checkout", "fulfilment"):
        assert entries_of(shop(*declared), name) == entries_of(shop(*reversed(declared)), name)


def test_document_is_the_same_on_every_reconcile() -> None:
    cluster = stage(in_dispute())
    text = document(cluster, "fulfilment")
    version = cluster.version
    assert document(cluster, "fulfilment") == text
    assert cluster.version == version
