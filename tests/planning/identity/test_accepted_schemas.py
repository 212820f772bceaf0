"""Schemas in a document: the current one, and the one before it if the policy accepts that too."""

import json
from base64 import b64encode
from typing import Any

import pytest

from tests.builders import Cluster, Manifest, shop
from tests.messaging import broker, consumer, policy, producer
from tests.planning.identity.test_messages import (
    ORDERS,
    checkout,
    document,
    entries_of,
    fulfilment,
    stage,
)
from troth.planning.steps.certificates import UpdatePublic
from troth.resources.messaging.schemas.schema_text import digest_of
from troth.resources.references import Ref
from troth.world.keys import identity_key
from troth.world.observation.objects import decoded

BOTH = ("checkout", "fulfilment")
SECRET = Ref("shop", "fulfilment-identity")


def versioned(version: str, accept: str = "Previous", **changed: Any) -> Manifest:
    """Return the policy `orders` with a schema that names its version."""
    schema = {"jsonSchema": {"title": version}, "accept": accept}
    return policy(**ORDERS | {"schema": schema} | changed)


def rolled(*versions: str) -> Cluster:
    """Return a cluster whose policy had these versions one after the other."""
    cluster = shop(broker(), versioned(versions[0]), checkout(), fulfilment()).settle()
    for each in versions[1:]:
        cluster.put(versioned(each))
        cluster.settle()
    return cluster


def versions_of(cluster: Cluster, name: str = "fulfilment") -> list[str]:
    """Return the versions that an identity's entry accepts, the current one first."""
    (entry,) = entries_of(cluster, name)
    assert "schemaFault" not in entry
    return [json.loads(each["text"])["title"] for each in entry["schemas"]]


def rewritten(cluster: Cluster, change: Any) -> None:
    """Change the schemas in the Secret by hand."""
    secret = cluster.objects["Secret", SECRET]
    found = json.loads(decoded(secret)["identity.json"])
    change(found["messages"][0]["schemas"])
    text = b64encode(json.dumps(found).encode()).decode()
    cluster.put({**secret, "data": {**secret["data"], "identity.json": text}})


@pytest.mark.parametrize("name", BOTH)
def test_replaced_schema_stays_accepted_behind_the_new_one(name: str) -> None:
    assert versions_of(rolled("1"), name) == ["1"]
    assert versions_of(rolled("1", "2"), name) == ["2", "1"]


def test_only_one_previous_schema_is_accepted() -> None:
    assert versions_of(rolled("1", "2", "3")) == ["3", "2"]


def test_rollback_exchanges_the_two_schemas() -> None:
    assert versions_of(rolled("1", "2", "1")) == ["1", "2"]
    assert versions_of(rolled("1", "2", "1", "2")) == ["2", "1"]


def test_another_change_of_the_policy_keeps_the_previous_schema() -> None:
    cluster = rolled("1", "2")
    cluster.put(versioned("2", context={"require": ["Tenant"], "maxAge": "1h"}))
    assert versions_of(cluster) == ["2", "1"]


def test_schema_that_is_only_written_in_another_way_replaces_nothing() -> None:
    cluster = rolled("1")
    schema = {"jsonSchema": {"title": "1", "type": "object"}, "accept": "Previous"}
    cluster.put(policy(**ORDERS | {"schema": schema}))
    cluster.settle()
    schema["jsonSchema"] = {"type": "object", "title": "1"}
    cluster.put(policy(**ORDERS | {"schema": schema}))
    (entry,) = entries_of(cluster, "fulfilment")
    assert [json.loads(each["text"]) for each in entry["schemas"]] == [
        {"title": "1", "type": "object"},
        {"title": "1"},
    ]


def test_previous_schema_is_not_accepted_unless_the_policy_says_so() -> None:
    cluster = shop(broker(), versioned("1", "Current"), checkout(), fulfilment())
    assert versions_of(cluster) == ["1"]
    cluster.put(versioned("2", "Current"))
    assert versions_of(cluster) == ["2"]


def test_previous_schema_is_forgotten_once_only_the_current_one_is_accepted() -> None:
    cluster = rolled("1", "2")
    cluster.put(versioned("2", "Current"))
    assert versions_of(cluster) == ["2"]
    cluster.put(versioned("2"))
    assert versions_of(cluster) == ["2"]


def test_previous_schema_survives_a_restart_of_the_operator() -> None:
    before = rolled("1", "2")
    after = Cluster.of(*before.objects.values())
    for manifest in before.objects.values():
        after.see(manifest)
    assert versions_of(after) == ["2", "1"]


def test_lost_secret_has_no_previous_schema_afterwards() -> None:
    cluster = rolled("1", "2")
    cluster.drop("Secret", SECRET)
    assert versions_of(cluster) == ["2"]
    assert versions_of(cluster, "checkout") == ["2", "1"]


def test_consumer_in_a_new_group_accepts_the_same_schemas() -> None:
    cluster = rolled("1", "2")
    cluster.put(versioned("2", consumers=[consumer("fulfilment", "other")]))
    assert versions_of(cluster) == ["2", "1"]


def test_new_consumer_accepts_the_current_schema_only() -> None:
    cluster = rolled("1", "2")
    listed = [consumer(each, each) for each in ("fulfilment", "packing")]
    packing = fulfilment()
    packing["metadata"]["name"] = "packing"
    packing["spec"]["workload"] = checkout(account="packing")["spec"]["workload"] | {
        "podSelector": {"matchLabels": {"app": "packing"}}
    }
    cluster.put(packing)
    cluster.put(versioned("2", consumers=listed))
    assert versions_of(cluster, "packing") == ["2"]


def test_suspended_grant_keeps_both_schemas() -> None:
    cluster = rolled("1", "2")
    cluster.put(policy("rival", environment="staging"))
    assert versions_of(cluster) == ["2", "1"]


def test_both_schemas_stay_while_the_policy_is_unreadable() -> None:
    cluster = rolled("1", "2")
    cluster.put(versioned("2", topic={"name": "*"}))
    assert cluster.world.unreadable
    assert versions_of(cluster) == ["2", "1"]


def faulty(accept: str = "Previous") -> Manifest:
    return policy(**ORDERS | {"schema": {"jsonSchema": {"type": "strnig"}, "accept": accept}})


def test_schema_fault_keeps_the_schemas_beside_it() -> None:
    cluster = rolled("1", "2")
    (before,) = entries_of(cluster, "fulfilment")
    cluster.put(faulty())
    (entry,) = entries_of(cluster.settle(), "fulfilment")
    assert (entry["schemaFault"], entry["schemas"]) == ("SchemaInvalid", before["schemas"])


@pytest.mark.parametrize(
    ("repaired", "accepted"), [("3", ["3", "2"]), ("2", ["2", "1"]), ("1", ["1", "2"])]
)
def test_previous_schema_is_accepted_after_a_fault_in_between(
    repaired: str, accepted: list[str]
) -> None:
    cluster = rolled("1", "2")
    cluster.put(faulty())
    cluster.settle()
    cluster.put(versioned(repaired))
    assert versions_of(cluster) == accepted


def test_kept_entry_with_a_schema_fault_keeps_the_schemas_too() -> None:
    cluster = rolled("1", "2")
    cluster.put(faulty())
    (before,) = entries_of(cluster.settle(), "fulfilment")
    cluster.put(policy(**ORDERS | {"topic": {"name": "*"}}))
    assert entries_of(cluster.settle(), "fulfilment") == [before]


def test_schema_fault_forgets_the_schemas_unless_previous_ones_are_accepted() -> None:
    cluster = rolled("1", "2")
    cluster.put(faulty("Current"))
    (entry,) = entries_of(cluster.settle(), "fulfilment")
    assert (entry["schemaFault"], entry.get("schemas")) == ("SchemaInvalid", None)


def other_text(schemas: list[dict[str, Any]]) -> None:
    schemas[1]["text"] = "true"


def other_type(schemas: list[dict[str, Any]]) -> None:
    schemas[1]["type"] = "XML"


def no_text(schemas: list[dict[str, Any]]) -> None:
    schemas[1]["file"] = schemas[1]["digest"] + ".json"
    del schemas[1]["text"]


def odd(schemas: list[Any]) -> None:
    schemas[1] = 7


SPOILED = [other_text, other_type, no_text, odd]


@pytest.mark.parametrize("spoil", SPOILED)
def test_previous_schema_that_cannot_be_read_is_not_accepted(spoil: Any) -> None:
    cluster = rolled("1", "2")
    rewritten(cluster, spoil)
    assert versions_of(cluster) == ["2"]


@pytest.mark.parametrize("spoil", SPOILED)
def test_no_message_is_valid_if_a_kept_entry_has_a_schema_that_cannot_be_read(spoil: Any) -> None:
    cluster = rolled("1", "2")
    cluster.put(versioned("2", topic={"name": "*"}))
    rewritten(cluster, spoil)
    (entry,) = entries_of(cluster, "fulfilment")
    assert (entry["schemaFault"], entry.get("schemas")) == ("SchemaMissing", None)


def test_previous_schema_is_written_only_over_the_document_it_comes_from() -> None:
    cluster = rolled("1")
    cluster.put(versioned("2"))
    plan = cluster.plan(identity_key(Ref("shop", "fulfilment")))
    (step,) = (each for each in plan.steps if isinstance(each, UpdatePublic))
    assert step.over == cluster.objects["Secret", SECRET]["metadata"]["resourceVersion"]


def test_digest_is_that_of_the_text() -> None:
    (entry,) = entries_of(rolled("1"), "fulfilment")
    (schema,) = entry["schemas"]
    assert schema == {
        "type": "JSONSchema",
        "digest": digest_of('{"title":"1"}'),
        "text": '{"title":"1"}',
    }
    # echo -n '{"title":"1"}' | openssl dgst -sha256 -binary | basenc --base64url
    assert schema["digest"] == "P8ReqC5lMMX2l_ioTV2LiYzkPQRLXUtoxotk8JVCxj0"


def test_producer_of_two_policies_accepts_the_schemas_of_each() -> None:
    bills = policy("bills", topic={"name": "prod.bills"}, producers=[producer("checkout")])
    listed = [{"policy": {"name": each}} for each in ("orders", "bills")]
    cluster = stage(checkout(publishes=listed), bills)
    found = json.loads(document(cluster, "checkout"))["messages"]
    assert [each["policy"] for each in found if "schemas" in each] == ["shop/orders"]
