"""Message schemas of a policy: found in the policy or a ConfigMap, or reported in the status."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from tests.builders import Cluster, Manifest, identity, shop
from tests.descriptor_sets import ORDER, descriptor_set
from tests.messaging import broker, policy, producer
from troth.planning.grants.message_schemas import schema_of, schema_verdict
from troth.resources.conditions import Truth, Verdict
from troth.resources.messaging.schemas.schema_text import (
    MOST_BYTES,
    MessageSchemaText,
    SchemaType,
)
from troth.resources.references import Ref
from troth.world.facts.objects import MANAGED_BY, Fault
from troth.world.keys import identity_key, policy_key
from troth.world.watch_class import SCHEMA as LABEL
from troth.world.watch_class import SCHEMAS

SCHEMA = {"type": "object", "required": ["id"]}
PLACE = Ref("shop", "schemas")
REFERRING = {"configMapRef": {"name": "schemas", "key": "orders.json"}}
USED = {policy_key(Ref("shop", "orders")), identity_key(Ref("shop", "checkout"))}


LABELLED = {LABEL: "true"}


def kept(
    text: str = json.dumps(SCHEMA),
    key: str = "orders.json",
    labels: Mapping[str, str] = LABELLED,
) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "schemas", "namespace": "shop", "labels": dict(labels)},
        "data": {key: text},
    }


def unlabelled() -> Manifest:
    return kept(labels={})


def managed() -> Manifest:
    return kept(labels=LABELLED | {MANAGED_BY: "troth"})


def stage(*others: Manifest, schema: dict[str, Any] | None = None) -> Cluster:
    orders = policy(producers=[producer("checkout")], schema=schema or REFERRING)
    publishing = identity("checkout", publishes=[{"policy": {"name": "orders"}}])
    return shop(broker(), orders, publishing, *others)


def verdict(cluster: Cluster) -> Verdict | None:
    return schema_verdict(declared(cluster), cluster.world.schemas.of(declared(cluster)))


def declared(cluster: Cluster) -> Any:
    return cluster.world.brokers.messaging.policies[Ref("shop", "orders")]


def found(cluster: Cluster) -> Any:
    return schema_of(declared(cluster), cluster.world.schemas.of(declared(cluster)))


def test_usable_schema_is_found_in_either_place() -> None:
    for cluster in (stage(kept()), stage(schema={"jsonSchema": SCHEMA})):
        assert json.loads(found(cluster).text) == SCHEMA
        judged = verdict(cluster)
        assert judged is not None
        assert (judged.type, judged.status) == ("SchemaValid", Truth.TRUE)


AVRO = {"type": "record", "name": "Order", "fields": [{"name": "id", "type": "string"}]}
BINARY = {"descriptorSet": descriptor_set(ORDER), "message": "shop.Order"}


def referring(**more: str) -> dict[str, Any]:
    return {"configMapRef": REFERRING["configMapRef"] | more}


def test_schema_of_each_format_is_found_in_either_place() -> None:
    avro = SchemaType.AVRO, ""
    protobuf = SchemaType.PROTOBUF, "shop.Order"
    named = referring(type="Protobuf", message="shop.Order")
    in_binary_data = kept() | {"data": None, "binaryData": {"orders.json": BINARY["descriptorSet"]}}
    for cluster, expected in (
        (stage(schema={"avro": AVRO}), avro),
        (stage(kept(json.dumps(AVRO)), schema=referring(type="Avro")), avro),
        (stage(schema={"protobuf": BINARY}), protobuf),
        (stage(kept(BINARY["descriptorSet"]), schema=named), protobuf),
        (stage(in_binary_data, schema=named), protobuf),
    ):
        schema = found(cluster)
        assert isinstance(schema, MessageSchemaText), schema
        assert (schema.type, schema.message) == expected


@pytest.mark.parametrize(
    ("schema", "start"),
    [
        ({"avro": {"type": "strnig"}}, "schema.avro: the schema, at /type: type strnig"),
        ({"protobuf": BINARY | {"message": "Order"}}, "schema.protobuf: the schema has no mes"),
        (
            referring(type="Avro"),
            "orders.json in ConfigMap shop/schemas: the schema, at /type: write",
        ),
    ],
)
def test_broken_schema_of_a_format_is_reported(schema: dict[str, Any], start: str) -> None:
    judged = verdict(stage(kept("{}"), schema=schema))
    assert judged is not None
    assert judged.reason == "SchemaInvalid"
    assert judged.message.startswith(start)


def test_policy_without_a_schema_has_no_schema_condition() -> None:
    cluster = shop(broker(), policy())
    assert found(cluster) is None
    assert verdict(cluster) is None


@pytest.mark.parametrize(
    ("others", "reason", "words"),
    [
        ([], "SchemaMissing", 'label the existing one troth.dev/schema: "true"'),
        ([unlabelled()], "SchemaMissing", "ConfigMap shop/schemas with the label"),
        ([managed()], "SchemaMissing", "ConfigMap shop/schemas with the label"),
        ([kept(key="other.json")], "SchemaMissing", "has no key orders.json"),
        ([kept("type: object")], "SchemaInvalid", "orders.json in ConfigMap shop/schemas: "),
        ([kept('{"$ref": "http://a.example/"}')], "SchemaRefersElsewhere", "Troth fetches nothing"),
        ([kept(" " * (MOST_BYTES + 1))], "SchemaTooLarge", "is longer than 64 KiB"),
    ],
)
def test_unusable_schema_is_reported(others: list[Manifest], reason: str, words: str) -> None:
    judged = verdict(stage(*others))
    assert judged is not None
    assert (judged.status, judged.reason) == (Truth.FALSE, reason)
    assert words in judged.message


def test_broken_inline_schema_is_reported() -> None:
    judged = verdict(stage(schema={"jsonSchema": {"properties": {"a": {"type": "strnig"}}}}))
    assert judged is not None
    assert judged.reason == "SchemaInvalid"
    assert judged.message.startswith("schema.jsonSchema: the schema, at /properties/a/type")


# Invalidation


def test_users_of_a_schema_are_invalidated_only_if_it_changes() -> None:
    cluster = stage()
    assert cluster.put(kept()) == USED
    assert cluster.put(kept()) == set()
    assert cluster.put(kept('{"type": "string"}')) == USED
    assert json.loads(found(cluster).text) == {"type": "string"}
    assert cluster.put(unlabelled()) == USED
    assert isinstance(found(cluster), Fault)
    cluster.put(kept())
    assert cluster.world.forget(SCHEMAS, PLACE, cluster.version + 1, uptime=0.0) == USED
    assert isinstance(found(cluster), Fault)


def test_unreferenced_config_map_invalidates_nothing() -> None:
    assert shop(broker(), policy()).put(kept()) == set()


def test_schema_that_becomes_managed_and_back_is_indexed_as_its_last_state() -> None:
    cluster = stage(kept())
    assert cluster.put(managed()) >= USED
    assert PLACE in cluster.world.bundles
    assert PLACE not in cluster.world.schemas.by_ref
    assert cluster.put(kept()) >= USED
    assert PLACE not in cluster.world.bundles
    assert PLACE in cluster.world.schemas.by_ref


def test_deletion_in_one_watch_class_does_not_affect_the_other() -> None:
    """One informer reports a deletion at or after the version that the other informer has."""
    cluster = stage(kept())
    for at in (cluster.version, cluster.version + 1):
        assert cluster.world.forget("ConfigMap", PLACE, at, uptime=0.0) == set()
        assert PLACE in cluster.world.schemas.by_ref
        cluster.version = at
    cluster.put(managed())
    for at in (cluster.version, cluster.version + 1):
        assert cluster.world.forget(SCHEMAS, PLACE, at, uptime=0.0) == set()
        assert PLACE in cluster.world.bundles


def test_late_informer_does_not_undo_newer_state() -> None:
    cluster = stage(managed())
    late = cluster.objects["ConfigMap", PLACE]
    cluster.put(kept())
    cluster.world.observe(late, uptime=0.0)
    assert PLACE in cluster.world.schemas.by_ref
    cluster.world.forget("ConfigMap", PLACE, cluster.version, uptime=0.0)
    assert PLACE not in cluster.world.bundles
    assert json.loads(found(cluster).text) == SCHEMA
