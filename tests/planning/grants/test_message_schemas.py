"""A policy's schema is found where it is kept, or its status says what to do."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from tests.builders import Cluster, Manifest, identity, shop
from tests.messaging import broker, policy, producer
from troth.planning.grants.message_schemas import schema_of, schema_verdict
from troth.resources.conditions import Truth, Verdict
from troth.resources.messaging.json_schema import MOST_BYTES
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
    return schema_verdict(declared(cluster), cluster.world)


def declared(cluster: Cluster) -> Any:
    return cluster.world.brokers.messaging.policies[Ref("shop", "orders")]


def found(cluster: Cluster) -> Any:
    return schema_of(declared(cluster), cluster.world)


def test_a_schema_that_can_be_used_is_found_in_either_place() -> None:
    for cluster in (stage(kept()), stage(schema={"jsonSchema": SCHEMA})):
        assert json.loads(found(cluster)) == SCHEMA
        judged = verdict(cluster)
        assert judged is not None
        assert (judged.type, judged.status) == ("SchemaValid", Truth.TRUE)


def test_a_policy_without_a_schema_is_not_judged() -> None:
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
def test_one_that_cannot_is_a_sentence(others: list[Manifest], reason: str, words: str) -> None:
    judged = verdict(stage(*others))
    assert judged is not None
    assert (judged.status, judged.reason) == (Truth.FALSE, reason)
    assert words in judged.message


def test_a_broken_one_written_in_the_policy_is_a_sentence_too() -> None:
    judged = verdict(stage(schema={"jsonSchema": {"properties": {"a": {"type": "strnig"}}}}))
    assert judged is not None
    assert judged.reason == "SchemaInvalid"
    assert judged.message.startswith("schema.jsonSchema: the schema, at /properties/a/type")


# What changes


def test_whoever_goes_by_a_schema_is_looked_at_when_it_changes_and_only_then() -> None:
    cluster = stage()
    assert cluster.put(kept()) == USED
    assert cluster.put(kept()) == set()
    assert cluster.put(kept('{"type": "string"}')) == USED
    assert json.loads(found(cluster)) == {"type": "string"}
    assert cluster.put(unlabelled()) == USED
    assert isinstance(found(cluster), Fault)
    cluster.put(kept())
    assert cluster.world.forget(SCHEMAS, PLACE, cluster.version + 1, uptime=0.0) == USED
    assert isinstance(found(cluster), Fault)


def test_a_config_map_that_nobody_names_concerns_nobody() -> None:
    assert shop(broker(), policy()).put(kept()) == set()


def test_a_schema_that_becomes_troths_own_and_back_is_what_it_is_last() -> None:
    cluster = stage(kept())
    assert cluster.put(managed()) >= USED
    assert PLACE in cluster.world.bundles
    assert PLACE not in cluster.world.schemas.by_ref
    assert cluster.put(kept()) >= USED
    assert PLACE not in cluster.world.bundles
    assert PLACE in cluster.world.schemas.by_ref


def test_that_one_selection_lost_it_says_nothing_of_the_other() -> None:
    """One informer tells that it is gone, at or after the version at which the other has it."""
    cluster = stage(kept())
    for at in (cluster.version, cluster.version + 1):
        assert cluster.world.forget("ConfigMap", PLACE, at, uptime=0.0) == set()
        assert PLACE in cluster.world.schemas.by_ref
        cluster.version = at
    cluster.put(managed())
    for at in (cluster.version, cluster.version + 1):
        assert cluster.world.forget(SCHEMAS, PLACE, at, uptime=0.0) == set()
        assert PLACE in cluster.world.bundles


def test_what_a_late_informer_tells_does_not_undo_what_came_after() -> None:
    cluster = stage(managed())
    late = cluster.objects["ConfigMap", PLACE]
    cluster.put(kept())
    cluster.world.observe(late, uptime=0.0)
    assert PLACE in cluster.world.schemas.by_ref
    cluster.world.forget("ConfigMap", PLACE, cluster.version, uptime=0.0)
    assert PLACE not in cluster.world.bundles
    assert json.loads(found(cluster)) == SCHEMA
