"""Spec of `MessageBroker`: one broker, its users, and the names on it that Troth manages."""

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
    message="set tls with clients: MTLS; a client certificate needs a connection with TLS",
    holds=lambda broker: broker.clients != "MTLS" or broker.tls is not None,
)


class BrokerTLS(Model):
    """TLS settings to verify the servers."""

    ca_secret_ref: LocalReference | None = None
    """Secret in this namespace whose ca.crt holds the roots to trust. Defaults to the roots of the
    system."""


class KafkaClients(StrEnum):
    """Authentication of Kafka clients."""

    SCRAM = "SCRAM"
    MTLS = "MTLS"


class Kafka(Model):
    """Kafka cluster, or another broker with the Kafka protocol."""

    rules: ClassVar[tuple[Rule, ...]] = (_CERTIFICATES_NEED_TLS,)

    bootstrap_servers: Servers
    """Bootstrap servers, as host:port."""
    tls: BrokerTLS | None = None
    """TLS settings to verify the servers. Every connection uses TLS, even without them."""
    admin_secret_ref: LocalReference
    """Secret in this namespace with which Troth administers the cluster. It holds tls.crt and
    tls.key, or username, password and mechanism (default SCRAM-SHA-512). It also holds
    bootstrap.servers if Troth uses another listener than clients."""
    clients: KafkaClients = KafkaClients.SCRAM
    """Authentication of clients. SCRAM (default): a password in a Secret of each identity. MTLS:
    the identity's certificate, which the cluster maps to the principal."""


class RabbitMQ(Model):
    """RabbitMQ cluster."""

    servers: Servers
    """Servers to which clients connect, as host:port."""
    management: ServerAddress
    """Address of the management API, as host:port."""
    virtual_host: VirtualHost = "/"
    """Virtual host that holds everything Troth manages. Default /."""
    tls: BrokerTLS | None = None
    """TLS settings to verify the servers. Without them, connections are not encrypted."""
    admin_secret_ref: LocalReference
    """Secret in this namespace with which Troth administers the cluster: username and password."""


class NATSClients(StrEnum):
    """Authentication of NATS clients."""

    JWT = "JWT"
    MTLS = "MTLS"


class NATS(Model):
    """NATS cluster in operator mode. Troth administers one of its accounts."""

    rules: ClassVar[tuple[Rule, ...]] = (_CERTIFICATES_NEED_TLS,)

    servers: Servers
    """Servers, as host:port."""
    account: AccountKey
    """Public key of the account that holds everything Troth manages."""
    tls: BrokerTLS | None = None
    """TLS settings to verify the servers. Every connection uses TLS, even without them."""
    admin_secret_ref: LocalReference
    """Secret in this namespace with which Troth administers the account: system.creds of a user of
    the system account, and operator.nk, the seed of an operator signing key."""
    clients: NATSClients = NATSClients.JWT
    """Authentication of clients. JWT (default): a .creds file in a Secret of each identity. MTLS:
    the identity's certificate, if the servers are configured with verify_and_map."""


class MQTT(Model):
    """Mosquitto broker with its dynamic security plugin."""

    servers: Servers
    """Servers, as host:port."""
    tls: BrokerTLS | None = None
    """TLS settings to verify the servers. Without them, connections are not encrypted."""
    admin_secret_ref: LocalReference
    """Secret in this namespace with which Troth administers the broker: username and password."""


class Valkey(Model):
    """Valkey or Redis whose streams carry the messages."""

    servers: Servers
    """All servers, as host:port. Each is configured separately."""
    tls: BrokerTLS | None = None
    """TLS settings to verify the servers. Without them, connections are not encrypted."""
    admin_secret_ref: LocalReference
    """Secret in this namespace with which Troth administers the servers: username and password."""


class BrokerType(StrEnum):
    """Broker types, named after the field of the spec that describes one."""

    KAFKA = "kafka"
    RABBITMQ = "rabbitmq"
    NATS = "nats"
    MQTT = "mqtt"
    VALKEY = "valkey"


class Place(NamedTuple):
    """Server, and the separate part of it, if the broker type has such parts."""

    type: BrokerType
    server: str
    part: str


class BrokerWorkload(Model):
    """Pods of the broker, in this namespace."""

    pod_selector: LabelSelector
    """Selector of the pods."""
    ports: Annotated[tuple[Port, ...], Field(min_length=1, max_length=8), BY_NAME]
    """Ports on which the pods serve clients."""


class Owns(Model):
    """Names that Troth manages. Troth grants and revokes nothing else at the broker."""

    topic_prefixes: Annotated[tuple[TopicPrefix, ...], Field(min_length=1, max_length=16), SET]
    """Prefixes of the names of all granted topics. End a prefix with the broker's separator: prod.
    does not match production.orders."""
    principal_prefix: PrincipalPrefix
    """Prefix of the names of all principals that Troth creates."""


class BrokerMode(StrEnum):
    """Whether Troth changes the broker or only observes it."""

    ENFORCE = "Enforce"
    PLAN = "Plan"
    OBSERVE = "Observe"


class RemovalBrake(Model):
    """Limit above which removals wait for a person."""

    max_removals: Count = 20
    """Maximum number of rules that Troth removes at once. Default 20. More removals wait until the
    annotation troth.dev/allow-removals permits them."""


class MessageBrokerSpec(Model):
    """Desired state of a broker."""

    rules: ClassVar[tuple[Rule, ...]] = (
        exactly_one(
            *BrokerType,
            message="set exactly one of kafka, rabbitmq, nats, mqtt and valkey",
        ),
    )

    environment: Annotated[
        Environment, Immutable("environment cannot change; create a new MessageBroker instead")
    ]
    """Environment of the messages that the broker carries. Immutable."""
    kafka: Kafka | None = None
    """Kafka cluster, or another broker with the Kafka protocol."""
    rabbitmq: RabbitMQ | None = None
    """RabbitMQ cluster."""
    nats: NATS | None = None
    """NATS cluster in operator mode. Troth administers one of its accounts."""
    mqtt: MQTT | None = None
    """Mosquitto broker with its dynamic security plugin."""
    valkey: Valkey | None = None
    """Valkey or Redis whose streams carry the messages."""
    workload: BrokerWorkload | None = None
    """Pods of the broker, in this namespace. The network to them is open for workloads with a grant
    and closed for all others. Leave it out for a broker outside the cluster."""
    allowed_namespaces: LabelSelector
    """Namespaces whose policies and identities may use the broker."""
    owns: Owns
    """Names that Troth manages. Troth grants and revokes nothing else at the broker."""
    mode: BrokerMode = BrokerMode.ENFORCE
    """Enforcement mode. Enforce (default): Troth keeps the broker as declared. Plan: Troth reports
    what it would do and changes nothing. Observe: Troth reports drift and foreign rules."""
    drift_check: Annotated[Duration, duration_between("10s", "1h")] = timedelta(seconds=60)
    """Interval at which Troth compares everything at the broker with what is declared. Default
    60s."""
    brake: RemovalBrake = RemovalBrake()
    """Limit above which removals wait for a person."""

    @cached_property
    def type(self) -> BrokerType:
        """Type of the broker."""
        return next(each for each in BrokerType if getattr(self, each) is not None)

    @property
    def described(self) -> Kafka | RabbitMQ | NATS | MQTT | Valkey:
        """Description of the broker, of any of the five types."""
        each = (self.kafka, self.rabbitmq, self.nats, self.mqtt, self.valkey)
        return next(found for found in each if found is not None)

    @cached_property
    def topic_places(self) -> frozenset[Place]:
        """Places of its topics. Two brokers with a common place have the same topics."""
        return frozenset(Place(self.type, server, _part(self)) for server in self.servers)

    @cached_property
    def principal_places(self) -> frozenset[Place]:
        """Places of its principals. All virtual hosts of a RabbitMQ share them."""
        part = self.nats.account if self.nats else ""
        return frozenset(Place(self.type, server, part) for server in self.servers)

    @property
    def servers(self) -> tuple[str, ...]:
        """Servers, as host:port."""
        if self.kafka is not None:
            return self.kafka.bootstrap_servers
        others = (self.rabbitmq, self.nats, self.mqtt, self.valkey)
        return next(each.servers for each in others if each is not None)

    @property
    def by_certificate(self) -> bool:
        """Whether clients authenticate with their identity's certificate."""
        return "MTLS" in {each.clients for each in (self.kafka, self.nats) if each is not None}


def _part(spec: MessageBrokerSpec) -> str:
    if spec.rabbitmq is not None:
        return spec.rabbitmq.virtual_host
    return spec.nats.account if spec.nats is not None else ""


class MessageBroker(Resource):
    """Message broker: its servers, its users, and the names on it that Troth manages."""

    rules: ClassVar[tuple[Rule, ...]] = (
        *Resource.rules,
        Rule(
            cel="!self.metadata.name.matches('(^|-)identity$')",
            message="choose a name that is not identity and does not end in -identity; otherwise a "
            "credential's Secret has the same name as an identity's",
            holds=lambda resource: not f"-{resource.metadata.name}".endswith("-identity"),
        ),
    )

    kind: Literal["MessageBroker"] = "MessageBroker"
    spec: MessageBrokerSpec
    status: MessageBrokerStatus = MessageBrokerStatus()

    @cached_property
    def ref(self) -> Ref:
        """Namespace and name of the MessageBroker."""
        return Ref(self.metadata.namespace or "default", self.metadata.name)
