"""The data of an admin Secret becomes an adapter or an error."""

import sys
from collections.abc import Mapping
from typing import Any

import pytest

from sandbox.certificates import Authority
from tests.builders import Manifest
from tests.messaging import KAFKA, MQTT, NATS, RABBITMQ, VALKEY
from tests.messaging import broker as manifest
from troth.brokers.admin_secret import LONGEST
from troth.brokers.connecting import connect
from troth.brokers.errors import AdminRefusedError, BrokerError, MissingExtraError, UnsupportedError
from troth.brokers.kafka.admin import Certificate, Scram
from troth.brokers.kafka.client import Access
from troth.brokers.kafka.driver import Kafka
from troth.brokers.nats.driver import NatsBroker
from troth.brokers.nats.jwt import Key, Kind, creds_file, encode
from troth.brokers.protocol import Driver
from troth.resources.messaging.message_broker import MessageBroker

SECRET = b"what-nobody-may-read"
PASSWORD = {"username": b"troubadour\n", "password": SECRET + b"\n"}


def always() -> None:
    """Permit every change."""


def declared(described: Manifest) -> MessageBroker:
    return MessageBroker.parse(manifest(described=described))


def refusal(described: Manifest, admin: Mapping[str, bytes], authorities: str = "") -> BrokerError:
    with pytest.raises(BrokerError) as raised:
        connect(declared(described), admin, authorities, always)
    said = str(raised.value)
    assert not [value for value in admin.values() if value[:40].decode("latin-1") in said and value]
    return raised.value


def access(broker: Driver) -> Access:
    assert isinstance(broker, Kafka)
    return broker._access


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    made = Authority(tmp_path_factory.mktemp("authority")).client("admin", user="admin")
    return {"tls.crt": made.certificate.read_bytes(), "tls.key": made.key.read_bytes()}


@pytest.fixture(scope="module")
def operator() -> dict[str, bytes]:
    system, user = Key.generate(Kind.ACCOUNT), Key.generate(Kind.USER)
    token = encode({"sub": user.public, "nats": {}}, system, 7)
    seed = Key.generate(Kind.OPERATOR).seed
    return {"system.creds": creds_file(token, user).encode(), "operator.nk": seed + b"\n"}


def test_kafka_is_administered_by_password_or_by_certificate(pair: dict[str, bytes]) -> None:
    by_password = access(connect(declared(KAFKA), PASSWORD, "", always))
    assert by_password.login == Scram("troubadour", SECRET.decode(), "SCRAM-SHA-512")
    assert by_password.servers == tuple(KAFKA["kafka"]["bootstrapServers"])
    other = {**PASSWORD, "mechanism": b"SCRAM-SHA-256"}
    login = access(connect(declared(KAFKA), other, "", always)).login
    assert isinstance(login, Scram)
    assert login.mechanism == "SCRAM-SHA-256"
    by_certificate = access(connect(declared(KAFKA), pair | PASSWORD, "", always))
    assert isinstance(by_certificate.login, Certificate)


def test_kafka_admin_listener_may_differ_from_the_clients_listener(
    pair: dict[str, bytes],
) -> None:
    admin = {**pair, "bootstrap.servers": b"a.example:9094, b.example:9094\n"}
    broker = connect(declared(KAFKA), admin, "", always)
    assert access(broker).servers == ("a.example:9094", "b.example:9094")
    assert isinstance(broker, Kafka)
    assert broker._clients == tuple(KAFKA["kafka"]["bootstrapServers"])


def test_every_connection_to_kafka_has_tls(pair: dict[str, bytes]) -> None:
    for admin in (pair, PASSWORD):
        configured = access(connect(declared(KAFKA), admin, "", always)).configuration()
        assert configured["security.protocol"] in {"ssl", "sasl_ssl"}


async def test_nats_is_administered_with_the_system_account_and_the_operator(
    operator: dict[str, bytes],
) -> None:
    broker = connect(declared(NATS), operator, "", always)
    assert isinstance(broker, NatsBroker)
    assert broker._admin.account == NATS["nats"]["account"]
    await broker.close()


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({}, r"neither tls\.crt and tls\.key nor username and password"),
        ({"username": b"troubadour"}, "has no password"),
        ({"password": SECRET}, "has no username"),
        ({"username": b"troubadour", "password": b"\n"}, "has no password"),
        ({"username": b"a\nb", "password": SECRET}, "username in .* second line"),
        ({"username": b"troubadour", "password": b"\xff\xfe"}, "password in .* not text"),
        ({**PASSWORD, "mechanism": b"PLAIN"}, "mechanism in .* not one of SCRAM-SHA-512"),
        ({**PASSWORD, "bootstrap.servers": b"nowhere"}, "bootstrap.servers in .* host:port"),
        ({"username": b"troubadour", "password": b"x" * (LONGEST + 1)}, "password in .* longer"),
        ({"tls.crt": b"nonsense"}, r"tls\.crt holds no certificate"),
        ({"tls.key": SECRET}, r"has no tls\.crt"),
    ],
)
def test_missing_or_unusable_kafka_entry_is_named(given: dict[str, bytes], named: str) -> None:
    error = refusal(KAFKA, given)
    assert isinstance(error, AdminRefusedError)
    assert "Secret messaging/kafka-admin" in str(error)
    with pytest.raises(AdminRefusedError, match=named):
        raise error


def test_certificate_requires_its_own_key(
    pair: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = Authority(tmp_path_factory.mktemp("other")).client("admin", user="admin")
    for key, named in (
        (b"", "has no tls.key"),
        (SECRET, "exactly one readable private key"),
        (b"-----BEGIN A-----" * 900, "exactly one readable private key"),
        (b"-----BEGIN A-----" * 3_000, "larger than 16384 bytes"),
        (other.key.read_bytes(), "not the key of tls.crt"),
    ):
        assert named in str(refusal(KAFKA, {**pair, "tls.key": key}))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"system.creds": b""}, "has no system.creds"),
        ({"system.creds": b"-" * 60_000}, "system.creds in .* not a NATS .creds file"),
        ({"operator.nk": b"\n"}, "has no operator.nk"),
        ({"operator.nk": SECRET}, "operator.nk in .* not the seed"),
        ({"operator.nk": Key.generate(Kind.ACCOUNT).seed}, "operator.nk in .* not an operator"),
    ],
    ids=range(5),
)
def test_missing_or_unusable_nats_entry_is_named(
    operator: dict[str, bytes], change: dict[str, bytes], named: str
) -> None:
    error = refusal(NATS, operator | change)
    assert "Secret messaging/nats-admin" in str(error)
    with pytest.raises(AdminRefusedError, match=named):
        raise error


@pytest.mark.parametrize("authorities", ["nonsense", "-----BEGIN CERTIFICATE-----\nAAAA\n"])
def test_unreadable_roots_do_not_fall_back_to_system_roots(
    authorities: str, operator: dict[str, bytes]
) -> None:
    for described, admin in ((KAFKA, PASSWORD), (NATS, operator)):
        assert "ca.crt" in str(refusal(described, admin, authorities))


def test_unsupported_broker_is_rejected_by_name(operator: dict[str, bytes]) -> None:
    for described in (RABBITMQ, MQTT, VALKEY):
        error = refusal(described, PASSWORD)
        assert isinstance(error, UnsupportedError)
        assert next(iter(described)) in str(error)
    by_certificate = {"nats": {**NATS["nats"], "clients": "MTLS"}}
    assert isinstance(refusal(by_certificate, operator), UnsupportedError)


@pytest.mark.parametrize(
    ("described", "module", "extra"),
    [
        (KAFKA, "troth.brokers.kafka.driver", "troth[kafka]"),
        (NATS, "troth.brokers.nats.driver", "troth[nats]"),
    ],
)
def test_missing_library_is_named(
    described: Any,
    module: str,
    extra: str,
    operator: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    package, _, name = module.rpartition(".")
    monkeypatch.delattr(sys.modules[package], name)
    monkeypatch.setitem(sys.modules, module, None)
    error = refusal(described, operator | PASSWORD)
    assert isinstance(error, MissingExtraError)
    assert extra in str(error)
