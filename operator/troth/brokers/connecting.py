"""From a `MessageBroker` and the Secret with which it is administered to its adapter.

What is in the Secret comes from a person: each key that is missing or cannot be used is named, and
nothing of it is quoted. Every connection has TLS.
"""

import ssl
from collections.abc import Mapping
from typing import TYPE_CHECKING

from pydantic import TypeAdapter, ValidationError

from troth.brokers.protocol import (
    AdminRefusedError,
    Broker,
    BrokerError,
    MissingExtraError,
    UnsupportedError,
)
from troth.pki.errors import PKIError
from troth.pki.keys import load_private_key, private_key_pem, same_key
from troth.pki.pem import read_certificates, write_certificates
from troth.resources.messaging.message_broker import (
    NATS,
    Kafka,
    MessageBroker,
    NATSClients,
    Servers,
)
from troth.world.observation.broker_secrets import BOOTSTRAP_SERVERS
from troth.world.observation.objects import KEY, LEAF

if TYPE_CHECKING:
    from troth.brokers.kafka.client import Certificate, Scram

MECHANISMS = ("SCRAM-SHA-512", "SCRAM-SHA-256")
"""How Kafka may be shown a password; the first where the Secret names none."""
LONGEST = 64 * 1024
"""Bytes of a value in an admin Secret."""

_SERVERS: TypeAdapter[tuple[str, ...]] = TypeAdapter(Servers)


def connect(broker: MessageBroker, admin: Mapping[str, bytes], authorities: str) -> Broker:
    """Return the adapter of a broker, which connects when it is first asked something.

    `admin` is the data of its admin Secret. Of Kafka: `tls.crt` and `tls.key`, or `username`,
    `password` and, where it is not the first of `MECHANISMS`, `mechanism`; and `bootstrap.servers`
    where the cluster is administered at another listener than its clients use. Of NATS:
    `system.creds` and `operator.nk`. `authorities` are the PEM roots of the servers' certificates,
    empty for the system's. Raises `BrokerError`, with a sentence that says what to mend.
    """
    roots = authorities.encode("ascii", "ignore").decode()  # what is not ASCII is a comment
    if broker.spec.kafka is not None:
        given = _Given(broker, broker.spec.kafka.admin_secret_ref.name, admin)
        _verifying(broker, roots)
        return _kafka(broker.spec.kafka, given, roots)
    if broker.spec.nats is not None:
        given = _Given(broker, broker.spec.nats.admin_secret_ref.name, admin)
        return _nats(broker.spec.nats, given, _verifying(broker, roots))
    raise UnsupportedError(f"Troth does not support {broker.spec.type} yet")


def admin_scram(broker: MessageBroker, admin: Mapping[str, bytes]) -> "Scram | None":
    """Return the user and password that a Secret administers Kafka with, None where it is none.

    Raises `BrokerError` as `connect` does.
    """
    if broker.spec.kafka is None or LEAF in admin or KEY in admin:
        return None
    return _scram(_Given(broker, broker.spec.kafka.admin_secret_ref.name, admin))


class _Given:
    """The data of an admin Secret, each value asked for by its key."""

    def __init__(self, broker: MessageBroker, name: str, data: Mapping[str, bytes]) -> None:
        self.where = f"admin Secret {broker.ref.namespace}/{name}"
        self._data = data

    def __contains__(self, key: str) -> bool:
        return key in self._data

    def value(self, key: str) -> bytes:
        """Return a value; raises `AdminRefusedError` if it is not there or is too long."""
        value = self._data.get(key, b"")
        if len(value) > LONGEST:
            raise self.refused(key, f"is longer than {LONGEST} bytes")
        if not value.strip():
            raise AdminRefusedError(f"{self.where} has no {key}; add it")
        return value

    def text(self, key: str) -> str:
        """Return a value that is text."""
        try:
            return self.value(key).decode()
        except UnicodeDecodeError:
            raise self.refused(key, "is not text") from None

    def line(self, key: str) -> str:
        """Return a text of one line, without the end that editors put after it."""
        line = self.text(key).removesuffix("\n").removesuffix("\r")
        if not line.isprintable():
            raise self.refused(key, "has a second line or an invisible character")
        return line

    def refused(self, key: str, because: str) -> AdminRefusedError:
        """Return the error that says what is wrong with a value."""
        return AdminRefusedError(f"{key} in {self.where} {because}; correct it")


def _verifying(broker: MessageBroker, roots: str) -> ssl.SSLContext:
    """Return what verifies the servers."""
    try:
        return ssl.create_default_context(cadata=roots or None)
    except ssl.SSLError:
        raise BrokerError(
            f"the ca.crt for the servers of MessageBroker {broker.ref} holds no certificate that "
            "can be read; put their roots there, in PEM"
        ) from None


def _kafka(spec: Kafka, given: _Given, roots: str) -> Broker:
    try:
        from troth.brokers.kafka import client as kafka_client  # noqa: PLC0415 - an extra
        from troth.brokers.kafka import driver as kafka  # noqa: PLC0415 - an extra
    except ImportError:
        raise MissingExtraError("Kafka needs troth[kafka]; install it") from None
    clients = spec.bootstrap_servers
    servers = _servers(given) if BOOTSTRAP_SERVERS in given else clients
    by_certificate = LEAF in given or KEY in given
    login = _certificate(given) if by_certificate else _scram(given)
    return kafka.Kafka(kafka_client.Access(servers, login, roots), clients=clients)


def _servers(given: _Given) -> tuple[str, ...]:
    named = given.line(BOOTSTRAP_SERVERS).split(",")
    try:
        return _SERVERS.validate_python(tuple(each.strip() for each in named))
    except ValidationError:
        raise given.refused(
            BOOTSTRAP_SERVERS, "is not a comma-separated list of host:port"
        ) from None


def _certificate(given: _Given) -> "Certificate":
    from troth.brokers.kafka.client import Certificate  # noqa: PLC0415 - an extra

    try:
        chain = read_certificates(given.value(LEAF), LEAF, comments=True)
        key = load_private_key(given.value(KEY))
    except PKIError as error:
        raise AdminRefusedError(f"{given.where}: {error}") from None
    if not same_key(chain[0], key):
        raise given.refused(KEY, f"is not the key of {LEAF}")
    return Certificate(write_certificates(chain).decode(), private_key_pem(key).decode())


def _scram(given: _Given) -> "Scram":
    from troth.brokers.kafka.client import Scram  # noqa: PLC0415 - an extra

    if "username" not in given and "password" not in given:
        raise AdminRefusedError(
            f"{given.where} has neither {LEAF} and {KEY} nor username and password; add one pair"
        )
    mechanism = given.line("mechanism") if "mechanism" in given else MECHANISMS[0]
    if mechanism not in MECHANISMS:
        raise given.refused("mechanism", f"is not one of {', '.join(MECHANISMS)}")
    return Scram(given.line("username"), given.line("password"), mechanism)


def _nats(spec: NATS, given: _Given, verifying: ssl.SSLContext) -> Broker:
    if spec.clients is NATSClients.MTLS:
        raise UnsupportedError(
            "NATS in operator mode identifies clients by JWTs only; set clients: JWT"
        )
    try:
        from troth.brokers.nats import driver as nats  # noqa: PLC0415 - an extra
        from troth.brokers.nats import jwt as nats_jwt  # noqa: PLC0415 - an extra
    except ImportError:
        raise MissingExtraError("NATS needs troth[nats]; install it") from None
    creds, seed = given.text("system.creds"), given.text("operator.nk").strip()
    try:
        nats_jwt.read_creds(creds)
    except ValueError as error:
        raise given.refused("system.creds", f"is {error}") from None
    try:
        signer = nats_jwt.Key.of(seed.encode())
    except ValueError as error:
        raise given.refused("operator.nk", f"is {error}") from None
    if not signer.seed.startswith(b"SO"):
        raise given.refused("operator.nk", "is the seed of an account or a user, not an operator's")
    servers = [f"tls://{server}" for server in spec.servers]
    return nats.NatsBroker(servers, nats.Admin(spec.account, creds, seed), verifying)
