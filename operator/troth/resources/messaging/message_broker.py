"""`MessageBroker`: one broker, who may use it, and which names on it are Troth's to give."""

from datetime import timedelta
from enum import StrEnum
from functools import cached_property
from typing import Annotated, ClassVar, Literal, NamedTuple

from pydantic import Field

from troth.resources.identity.spec import Port
from troth.resources.messaging.message_broker_status import MessageBrokerStatus
from troth.resources.messaging.names import (
    AccountKey,
    PrincipalPrefix,
    ServerAddress,
    TopicPrefix,
    VirtualHost,
)
from troth.resources.metadata import Resource
from troth.resources.references import LocalReference, Ref
from troth.resources.schema.lists import BY_NAME, SET
from troth.resources.schema.model import Model, exactly_one
from troth.resources.schema.rules import Immutable, Rule
from troth.resources.schema.scalars import Count, Duration, Environment, duration_between
from troth.resources.selectors import LabelSelector

Servers = Annotated[tuple[ServerAddress, ...], Field(min_length=1, max_length=16), SET]

_CERTIFICATES_NEED_TLS = Rule(
    cel="!has(self.clients) || self.clients != 'MTLS' || has(self.tls)",
    message="write tls beside clients: MTLS; a certificate is presented on a connection with TLS",
    holds=lambda broker: broker.clients != "MTLS" or broker.tls is not None,
)


class BrokerTLS(Model):
    """How the servers prove themselves."""

    ca_secret_ref: LocalReference | None = None
    """The Secret of this namespace whose ca.crt has the roots to trust; those of the system when
    left out."""


class KafkaClients(StrEnum):
    """How clients prove themselves to Kafka."""

    SCRAM = "SCRAM"
    MTLS = "MTLS"


class Kafka(Model):
    """A Kafka cluster, or another that speaks its protocol."""

    rules: ClassVar[tuple[Rule, ...]] = (_CERTIFICATES_NEED_TLS,)

    bootstrap_servers: Servers
    """The servers that are asked first, as host:port."""
    tls: BrokerTLS | None = None
    """How the servers prove themselves; every connection has TLS, also when left out."""
    admin_secret_ref: LocalReference
    """The Secret of this namespace with which Troth administers the cluster: tls.crt and tls.key,
    or username, password and mechanism, SCRAM-SHA-512 when left out. With bootstrap.servers, where
    Troth has another listener than clients."""
    clients: KafkaClients = KafkaClients.SCRAM
    """SCRAM: with a password in a Secret of each identity. MTLS: with the identity's certificate,
    which the cluster maps to the principal."""


class RabbitMQ(Model):
    """A RabbitMQ cluster."""

    servers: Servers
    """The servers to which clients connect, as host:port."""
    management: ServerAddress
    """Where the management API listens, as host:port."""
    virtual_host: VirtualHost = "/"
    """The virtual host in which everything is."""
    tls: BrokerTLS | None = None
    """How the servers prove themselves; nothing is encrypted when left out."""
    admin_secret_ref: LocalReference
    """The Secret of this namespace with which Troth administers the cluster: username and
    password."""


class NATSClients(StrEnum):
    """How clients prove themselves to NATS."""

    JWT = "JWT"
    MTLS = "MTLS"


class NATS(Model):
    """A NATS cluster in operator mode, of which one account is administered."""

    rules: ClassVar[tuple[Rule, ...]] = (_CERTIFICATES_NEED_TLS,)

    servers: Servers
    """The servers, as host:port."""
    account: AccountKey
    """The public key of the account in which everything is."""
    tls: BrokerTLS | None = None
    """How the servers prove themselves; every connection has TLS, also when left out."""
    admin_secret_ref: LocalReference
    """The Secret of this namespace with which Troth administers the account: system.creds, of a
    user of the system account, and operator.nk, the seed of a signing key of the operator."""
    clients: NATSClients = NATSClients.JWT
    """JWT: with a .creds file in a Secret of each identity. MTLS: with the identity's certificate,
    where the servers are configured with verify_and_map."""


class MQTT(Model):
    """A Mosquitto with its dynamic security plugin."""

    servers: Servers
    """The servers, as host:port."""
    tls: BrokerTLS | None = None
    """How the servers prove themselves; nothing is encrypted when left out."""
    admin_secret_ref: LocalReference
    """The Secret of this namespace with which Troth administers the broker: username and
    password."""


class Valkey(Model):
    """A Valkey or Redis, whose streams carry the messages."""

    servers: Servers
    """All servers, as host:port: each is told by itself."""
    tls: BrokerTLS | None = None
    """How the servers prove themselves; nothing is encrypted when left out."""
    admin_secret_ref: LocalReference
    """The Secret of this namespace with which Troth administers the servers: username and
    password."""


class BrokerType(StrEnum):
    """The brokers there are, by the member of the spec that describes one."""

    KAFKA = "kafka"
    RABBITMQ = "rabbitmq"
    NATS = "nats"
    MQTT = "mqtt"
    VALKEY = "valkey"


class Place(NamedTuple):
    """A server, and the part of it that is a world of its own, where it has such."""

    type: BrokerType
    server: str
    part: str


class BrokerWorkload(Model):
    """The broker's own pods, in this namespace."""

    pod_selector: LabelSelector
    """The pods."""
    ports: Annotated[tuple[Port, ...], Field(min_length=1, max_length=8), BY_NAME]
    """The ports on which clients are served."""


class Owns(Model):
    """The names that are Troth's to give. Nothing else at the broker is granted or taken away."""

    topic_prefixes: Annotated[tuple[TopicPrefix, ...], Field(min_length=1, max_length=16), SET]
    """What the names of all granted topics begin with. With the broker's separator at its end,
    prod. has nothing of production.orders."""
    principal_prefix: PrincipalPrefix
    """What the names of all principals begin with that Troth makes."""


class BrokerMode(StrEnum):
    """Whether the broker is changed, or only looked at."""

    ENFORCE = "Enforce"
    PLAN = "Plan"
    OBSERVE = "Observe"


class RemovalBrake(Model):
    """When removals wait for a person."""

    max_removals: Count = 20
    """How many rules may be removed at once. More wait until the annotation
    troth.dev/allow-removals lets them pass."""


class MessageBrokerSpec(Model):
    """What a broker is."""

    rules: ClassVar[tuple[Rule, ...]] = (
        exactly_one(
            *BrokerType,
            message="describe exactly one broker: kafka, rabbitmq, nats, mqtt or valkey",
        ),
    )

    environment: Annotated[
        Environment, Immutable("environment cannot change; create a new MessageBroker instead")
    ]
    """The environment whose messages it carries; immutable."""
    kafka: Kafka | None = None
    """A Kafka cluster, or another that speaks its protocol."""
    rabbitmq: RabbitMQ | None = None
    """A RabbitMQ cluster."""
    nats: NATS | None = None
    """A NATS cluster in operator mode, of which one account is administered."""
    mqtt: MQTT | None = None
    """A Mosquitto with its dynamic security plugin."""
    valkey: Valkey | None = None
    """A Valkey or Redis, whose streams carry the messages."""
    workload: BrokerWorkload | None = None
    """The broker's own pods, to which the network is opened for whoever has a grant, and closed for
    everybody else; left out for a broker outside the cluster."""
    allowed_namespaces: LabelSelector
    """The namespaces whose policies and identities may use the broker."""
    owns: Owns
    """The names that are Troth's to give."""
    mode: BrokerMode = BrokerMode.ENFORCE
    """Enforce: the broker is kept as declared. Plan: what would be done is reported and nothing is
    changed. Observe: drift and foreign rules are reported."""
    drift_check: Annotated[Duration, duration_between("10s", "1h")] = timedelta(seconds=60)
    """How often everything at the broker is compared with what is declared."""
    brake: RemovalBrake = RemovalBrake()
    """When removals wait for a person."""

    @cached_property
    def type(self) -> BrokerType:
        """Which of the five it is."""
        return next(each for each in BrokerType if getattr(self, each) is not None)

    @property
    def described(self) -> Kafka | RabbitMQ | NATS | MQTT | Valkey:
        """The broker's description, whichever of the five it is."""
        each = (self.kafka, self.rabbitmq, self.nats, self.mqtt, self.valkey)
        return next(found for found in each if found is not None)

    @cached_property
    def topic_places(self) -> frozenset[Place]:
        """Where its topics are. Two brokers with a place in common have the same ones."""
        return frozenset(Place(self.type, server, _part(self)) for server in self.servers)

    @cached_property
    def principal_places(self) -> frozenset[Place]:
        """Where its principals are; RabbitMQ has the same ones in every virtual host."""
        part = self.nats.account if self.nats else ""
        return frozenset(Place(self.type, server, part) for server in self.servers)

    @property
    def servers(self) -> tuple[str, ...]:
        """Its servers, as host:port."""
        if self.kafka is not None:
            return self.kafka.bootstrap_servers
        others = (self.rabbitmq, self.nats, self.mqtt, self.valkey)
        return next(each.servers for each in others if each is not None)

    @property
    def by_certificate(self) -> bool:
        """Whether clients prove themselves with their identity's certificate."""
        return "MTLS" in {each.clients for each in (self.kafka, self.nats) if each is not None}


def _part(spec: MessageBrokerSpec) -> str:
    if spec.rabbitmq is not None:
        return spec.rabbitmq.virtual_host
    return spec.nats.account if spec.nats is not None else ""


class MessageBroker(Resource):
    """One broker: where it is, who may use it, and which names on it are Troth's to give."""

    rules: ClassVar[tuple[Rule, ...]] = (
        *Resource.rules,
        Rule(
            cel="!self.metadata.name.matches('(^|-)identity$')",
            message="choose another name than identity, and one that does not end in -identity; a "
            "credential's Secret would have the name of an identity's",
            holds=lambda resource: not f"-{resource.metadata.name}".endswith("-identity"),
        ),
    )

    kind: Literal["MessageBroker"] = "MessageBroker"
    spec: MessageBrokerSpec
    status: MessageBrokerStatus = MessageBrokerStatus()

    @cached_property
    def ref(self) -> Ref:
        """Where the broker is declared."""
        return Ref(self.metadata.namespace or "default", self.metadata.name)
