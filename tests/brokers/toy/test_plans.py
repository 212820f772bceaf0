"""Plans for a broker that only the registry knows, in memory."""

import base64

import pytest

from tests.broker_builders import CHECKOUT, MAIN, ORDERS, PUBLISHER, market, see, sync_broker
from tests.brokers.toy.dialect import ToyDialect
from tests.messaging import MQTT, broker
from troth.brokers import registry
from troth.planning.steps.broker_credentials import ChangeCredential
from troth.planning.steps.brokers import ChangeBroker
from troth.resources.messaging.broker_type import BrokerType
from troth.trust.grants import Rule
from troth.world.index.brokers import credential_ref
from troth.world.keys import broker_key, identity_key, policy_key
from troth.world.observation.broker_secrets import STATE

WRITE = Rule(PUBLISHER, "TOPIC", "NAME", "prod.orders.v1", "WRITE")


def test_nothing_is_granted_without_a_registry_entry() -> None:
    cluster = market(broker(described=MQTT))
    see(cluster)
    assert not [
        step
        for key in (identity_key(CHECKOUT), broker_key(MAIN))
        for step in cluster.plan(key).steps
        if isinstance(step, ChangeCredential | ChangeBroker)
    ]
    assert cluster.condition(policy_key(ORDERS), "Ready")["reason"] == "Unsupported"


def test_credentials_and_rules_are_planned_with_a_registry_entry(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(registry.DIALECTS, BrokerType.MQTT, ToyDialect())
    cluster = market(broker(described=MQTT))
    see(cluster)
    cluster.settle()
    stored = cluster.objects["Secret", credential_ref(CHECKOUT, MAIN)]["data"]
    assert stored.keys() == {"toy.password", "toy.servers", STATE}
    assert base64.b64decode(stored["toy.servers"]) == b"10.0.0.7:8883"

    (change,) = (
        step for step in cluster.plan(broker_key(MAIN)).steps if isinstance(step, ChangeBroker)
    )
    assert WRITE in change.additions
    assert PUBLISHER in {each.principal for each in change.uploads}

    sync_broker(cluster)
    cluster.settle()
    assert cluster.condition(broker_key(MAIN), "InSync")["status"] == "True"
    seen = cluster.world.brokers.secrets[credential_ref(CHECKOUT, MAIN)]
    assert dict(seen.public) == {"toy.servers": "10.0.0.7:8883"}
    assert seen.intact
