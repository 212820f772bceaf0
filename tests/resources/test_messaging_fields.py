"""Invalid fields of brokers and policies are rejected with what to write.

Whether the API server says the same is tested on a real one, in `tests/cluster/test_messaging.py`.
"""

import re
from typing import Any

import pytest

from tests import messaging
from tests.builders import Manifest
from tests.changed_manifests import changed
from tests.messaging import BASES, BY_NAME, WRONG, broker, policy
from tests.refusals import faults
from tests.resources.schemas import parts, schema
from troth.resources.kinds import Kind
from troth.resources.messaging.broker_type import BrokerType
from troth.resources.messaging.message_broker import MessageBroker
from troth.resources.messaging.topic_policy import TopicPolicy
from troth.resources.schema.model import immutable_changes
from troth.resources.schema.rules import VALIDATIONS

every_base = pytest.mark.parametrize("manifest", BASES.values(), ids=BASES)
every_kind = pytest.mark.parametrize("kind", BY_NAME.values(), ids=BY_NAME)


@every_base
def test_valid_resource_is_accepted(manifest: Manifest) -> None:
    assert faults(manifest) == []


@every_base
def test_resource_survives_a_round_trip(manifest: Manifest) -> None:
    model = BY_NAME[manifest["kind"]].model
    once = model.parse(manifest)
    assert model.parse(once.manifest()) == once


@pytest.mark.parametrize(
    ("base", "path", "value", "where", "words"),
    WRONG,
    ids=[f"{number}-{base}-{path}" for number, (base, path, *_) in enumerate(WRONG)],
)
def test_invalid_field_is_reported_with_place_and_fix(
    base: str, path: str, value: Any, where: str, words: str
) -> None:
    found = faults(changed(BASES[base], path, value))
    told = [fault for fault in found if words in fault.sentence]
    assert told, [str(fault) for fault in found]
    if where:
        assert told[0].field == where


@pytest.mark.parametrize("name", ["prod.orders.v1", "a", "p" * 249, "_a-b", "a/b:c", ".", "0"])
def test_literal_name_is_accepted(name: str) -> None:
    assert faults(policy(topic={"name": name})) == []
    assert faults(policy(topic={"prefix": name})) == []
    assert faults(broker(owns=[name])) == []


def test_every_broker_type_is_distinguished() -> None:
    for described in messaging.TYPES:
        spec = MessageBroker.parse(broker(described=described)).spec
        assert {spec.type.value} == set(described)
    assert {spec for described in messaging.TYPES for spec in described} == set(BrokerType)


def test_brokers_at_one_server_share_places_unless_separated() -> None:
    def places(described: Manifest, **more: Any) -> tuple[Any, Any]:
        ((type_, given),) = described.items()
        spec = MessageBroker.parse(broker(described={type_: given | more})).spec
        return spec.topic_places, spec.principal_places

    for described in messaging.TYPES:
        assert places(described) == places(described, adminSecretRef={"name": "other"})
    one_of_two = ["nats-1.nats.messaging.svc:4222"]
    assert places(messaging.NATS)[0] > places(messaging.NATS, servers=one_of_two)[0]
    topics, principals = places(messaging.RABBITMQ)
    others, same = places(messaging.RABBITMQ, virtualHost="staging")
    assert topics.isdisjoint(others)
    assert principals == same
    account = places(messaging.NATS, account=f"A{'C' * 55}")
    assert all(map(frozenset.isdisjoint, places(messaging.NATS), account))


@pytest.mark.parametrize("model", [MessageBroker, TopicPolicy])
def test_change_of_environment_is_reported(
    model: type[MessageBroker] | type[TopicPolicy],
) -> None:
    manifest = broker() if model is MessageBroker else policy()
    before = model.parse(manifest).spec
    after = model.parse(changed(manifest, "spec.environment", "other")).spec
    (sentence,) = immutable_changes(before, after)
    assert sentence == f"environment cannot change; create a new {model.__name__} instead"
    assert immutable_changes(before, before) == []


# The schema


@every_kind
def test_schema_is_structural_bounded_and_described(kind: Kind) -> None:
    refused = {"$ref", "$defs", "anyOf", "oneOf", "allOf", "const", "title", "uniqueItems"}
    for path, part in parts(schema(kind)):
        assert not refused & part.keys(), path
        assert part.get("type") in {"object", "array", "string", "integer", "boolean"}, path
        assert not ("properties" in part and "additionalProperties" in part), path
        assert part.get("default", "none") not in (None, [], {}), path
        assert not re.match("P[T0-9]", str(part.get("default", ""))), f"{path}: an ISO duration"
        if part["type"] == "array":
            assert part.get("maxItems"), path
            assert part["x-kubernetes-list-type"] in {"set", "map", "atomic"}, path
        if part["type"] == "string" and path.startswith(".spec"):
            assert part.keys() & {"maxLength", "enum", "format"}, path
        if path.startswith((".spec.", ".status.")) and not path.endswith("[]"):
            assert part.get("description", "").strip(), path


def rules_in(kind: Kind) -> set[str]:
    """The sentence of every rule of a kind, but of those that judge a change."""
    return {
        rule["message"]
        for _, part in parts(schema(kind))
        for rule in part.get(VALIDATIONS, [])
        if "oldSelf" not in rule["rule"]
    }


def test_every_rule_has_its_case() -> None:
    told = {
        fault.sentence
        for base, path, value, _, _ in WRONG
        for fault in faults(changed(BASES[base], path, value))
    }
    assert set().union(*map(rules_in, BY_NAME.values())) - told == set()


def test_error_never_quotes_the_input() -> None:
    """It might be a secret in the wrong place."""
    assert all(
        "hunter2" not in str(fault)
        for path in ("spec.topic.name", "spec.consumers.0.group", "spec.schema.jsonSchema")
        for fault in faults(changed(BASES["tp"], path, "hunter2 *"))
    )
