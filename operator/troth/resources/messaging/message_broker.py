"""Spec of `MessageBroker`: one broker, its users, and the names on it that Troth manages."""

from datetime import timedelta
from enum import StrEnum
from functools import cached_property
from typing import Annotated, ClassVar, Literal, NamedTuple

from pydantic import Field

from troth.resources.identity.spec import Port
from troth.resources.messaging.broker_type import BrokerType
from troth.resources.messaging.brokers.description import BrokerDescription
from troth.resources.messaging.brokers.kafka import Kafka
from troth.resources.messaging.brokers.mqtt import MQTT
from troth.resources.messaging.brokers.nats import NATS
from troth.resources.messaging.brokers.rabbitmq import RabbitMQ
from troth.resources.messaging.brokers.valkey import Valkey
from troth.resources.messaging.message_broker_status import MessageBrokerStatus
from troth.resources.messaging.names import (
    ForeignPrincipal,
    GroupName,
    GroupPrefix,
    PrincipalPrefix,
    StreamName,
    TopicPrefix,
)
from troth.resources.metadata import Resource
from troth.resources.references import Ref
from troth.resources.schema.lists import BY_NAME, SET
from troth.resources.schema.model import Model, exactly_one
from troth.resources.schema.rules import Immutable, Rule
from troth.resources.schema.scalars import Count, Duration, Environment, duration_between
from troth.resources.selectors import LabelSelector

*_OTHERS, _LAST = BrokerType


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
    group_prefixes: Annotated[tuple[GroupPrefix, ...], Field(max_length=16), SET] = ()
    """Prefixes of the names of all granted consumer groups, queue groups and durable consumers.
    Without any, Troth grants no group."""
    shared_groups: Annotated[tuple[GroupName, ...], Field(max_length=64), SET] = ()
    """Groups with which several identities may consume. Each other group, and each other durable
    consumer, is for one identity."""
    streams: Annotated[tuple[StreamName, ...], Field(max_length=64), SET] = ()
    """NATS streams whose durable consumers Troth may grant. With any, all consumers must use a
    stream: a consumer of a stream can have its messages sent to every subscriber in the account."""


class BrokerMode(StrEnum):
    """Whether Troth changes the broker or only observes it."""

    ENFORCE = "Enforce"
    PLAN = "Plan"
    OBSERVE = "Observe"


class Retention(StrEnum):
    """Whether the broker's owner lets grants outlive their policy."""

    DENY = "Deny"
    ALLOW = "Allow"


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
            message=f"set exactly one of {', '.join(_OTHERS)} and {_LAST}",
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
    administrators: Annotated[tuple[ForeignPrincipal, ...], Field(max_length=64), SET] = ()
    """Foreign principals that may publish and consume on the owned topics, such as administrators.
    They do not make Exclusive of a TopicPolicy false, which names all others. Write them as it
    does."""
    retention: Retention = Retention.DENY
    """Whether a policy with onDelete: Retain leaves its grants. Deny (default): Troth revokes the
    grants of each deleted policy. Allow: they stay while the broker admits the identity's namespace
    and owns their names."""
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
    def described(self) -> BrokerDescription:
        """Description of the broker, of whichever type."""
        found: BrokerDescription = getattr(self, self.type)
        return found

    @cached_property
    def topic_places(self) -> frozenset[Place]:
        """Places of its topics. Two brokers with a common place have the same topics."""
        return self._places(self.described.topic_part)

    @cached_property
    def principal_places(self) -> frozenset[Place]:
        """Places of its principals. All virtual hosts of a RabbitMQ share them."""
        return self._places(self.described.principal_part)

    @property
    def servers(self) -> tuple[str, ...]:
        """Servers, as host:port."""
        return self.described.addresses

    @property
    def by_certificate(self) -> bool:
        """Whether clients authenticate with their identity's certificate."""
        return self.described.by_certificate

    def _places(self, part: str) -> frozenset[Place]:
        return frozenset(Place(self.type, server, part) for server in self.servers)


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

    @cached_property
    def admin_secret(self) -> Ref:
        """Secret with the credential that administers the broker, in the broker's namespace."""
        return Ref(self.ref.namespace, self.spec.described.admin_secret_ref.name)
