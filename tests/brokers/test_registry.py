"""The registry: its imports, its answer for unknown types, and its entries."""

import importlib
import subprocess
import sys
import tomllib
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.brokers.toy.dialect import ToyDialect
from tests.messaging import ACCOUNT, KAFKA, MQTT, RABBITMQ, broker
from troth.brokers import registry
from troth.brokers.errors import UnsupportedError
from troth.brokers.protocol import CredentialRequest
from troth.documents.secret_keys import ROOTS
from troth.resources.messaging.broker_type import BrokerType
from troth.resources.messaging.message_broker import MessageBroker, MessageBrokerSpec
from troth.resources.references import Ref
from troth.trust.grants import Slot
from troth.world.observation.broker_secrets import STATE, public_data, public_keys

ROOT = Path(__file__).parents[2]
NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
LIBRARIES = {"aiohttp", "confluent_kafka", "nats", "nkeys"}
LOADED = """
import sys
import troth.planning.planner
from troth.brokers.registry import DIALECTS
drivers = [dialect.driver for dialect in DIALECTS.values()]
assert drivers
print(*(name for name in sys.modules if name in drivers or name.partition(".")[0] in {libraries}))
"""

every = pytest.mark.parametrize("type_", sorted(registry.DIALECTS))


def requested(type_: BrokerType) -> CredentialRequest:
    account = ACCOUNT if type_ is BrokerType.NATS else ""
    return CredentialRequest(
        *(Ref("messaging", "main"), type_, "troth-shop.checkout", ("b.example:1",)),
        authorities="roots\n",
        account=account,
    )


def test_planning_imports_neither_a_driver_nor_a_client_library() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", LOADED.format(libraries=LIBRARIES)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert ended.stdout.split() == []


@every
def test_each_dialect_has_a_driver_and_an_extra(type_: BrokerType) -> None:
    dialect = registry.DIALECTS[type_]
    assert callable(importlib.import_module(dialect.driver).connect)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert dialect.extra in project["optional-dependencies"]


@every
def test_public_key_of_one_broker_is_secret_at_none(type_: BrokerType) -> None:
    dialect = registry.DIALECTS[type_]
    assert set(dialect.public_data(requested(type_))) == dialect.public_keys
    keys = {f"{before}{dialect.secret_key}" for before in ("", "next-", "retiring-")}
    files = set(dialect.files(requested(type_), Slot.FIRST, "secret"))
    assert not (keys | files) & public_keys()
    assert STATE not in keys | files | public_keys()


def test_public_data_omits_empty_values() -> None:
    request = replace(requested(BrokerType.KAFKA), authorities="")
    assert ROOTS in public_data(requested(BrokerType.KAFKA))
    assert ROOTS not in public_data(request)


def test_type_without_a_dialect_is_not_served() -> None:
    declared = MessageBroker.parse(broker(described=RABBITMQ))
    said = "rabbitmq is not supported yet; use kafka or nats"
    assert registry.obstacle(declared) == said
    assert registry.obstacle(MessageBroker.parse(broker(described=KAFKA))) == ""
    with pytest.raises(UnsupportedError, match="rabbitmq"):
        registry.dialect_of(declared.spec.type)


def test_one_entry_makes_a_type_served(monkeypatch: pytest.MonkeyPatch) -> None:
    declared = MessageBroker.parse(broker(described=MQTT))
    assert registry.obstacle(declared)
    monkeypatch.setitem(registry.DIALECTS, BrokerType.MQTT, ToyDialect())
    assert registry.obstacle(declared) == ""
    assert "toy.servers" in public_keys()


def test_every_type_is_a_member_of_the_spec() -> None:
    assert set(BrokerType) <= MessageBrokerSpec.model_fields.keys()
