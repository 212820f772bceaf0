"""Spec of `TopicPolicy`: one topic or all under a prefix, its producers and its consumers.

Each field says who enforces it: the broker, the edge library (`troth.edge.events`, in producers and
consumers that use it), or nobody.
"""

from datetime import timedelta
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, StringConstraints, WithJsonSchema

from troth.resources.messaging.dead_letter import DeadLetter, RetryTopic
from troth.resources.messaging.names import (
    GroupName,
    StreamName,
    TenantName,
    TopicName,
    TopicPrefix,
)
from troth.resources.messaging.schemas.schema_text import MOST_BYTES, SchemaType
from troth.resources.messaging.topic_policy_status import TopicPolicyStatus
from troth.resources.metadata import Resource
from troth.resources.references import Ref, Reference
from troth.resources.schema.lists import ATOMIC, SET
from troth.resources.schema.model import Model, exactly_one
from troth.resources.schema.rules import Immutable, Rule
from troth.resources.schema.scalars import (
    Duration,
    Environment,
    Name,
    duration_between,
    matching,
)

ConfigMapKey = Annotated[
    str,
    StringConstraints(min_length=1, max_length=253),
    matching(
        "^[A-Za-z0-9._-]*$",
        "write a key of the ConfigMap as letters, digits and . _ -, such as schema.json",
    ),
]
MessageName = Annotated[
    str,
    StringConstraints(min_length=1, max_length=253),
    matching(
        "^[A-Za-z_][A-Za-z0-9_]*([.][A-Za-z_][A-Za-z0-9_]*)*$",
        "write the full name of a Protobuf message, such as shop.v1.Order",
    ),
]
SchemaObject = Annotated[
    dict[str, Any],
    Field(min_length=1, max_length=64),
    WithJsonSchema(
        {
            "type": "object",
            "minProperties": 1,
            "maxProperties": 64,
            "x-kubernetes-preserve-unknown-fields": True,
            # Without atomic, managedFields nests a few levels deeper than the object. The API
            # server would store an object too deep to decode, and could not list or delete it.
            "x-kubernetes-map-type": "atomic",
        }
    ),
]


MAX_AGE = timedelta(hours=168)
"""Maximum age of a message, unless the policy sets another one."""


class PolicyTopic(Model):
    """Topic, queue or subject, or all with a common prefix. Set exactly one of name and prefix."""

    rules: ClassVar[tuple[Rule, ...]] = (
        exactly_one(
            "name",
            "prefix",
            message="set exactly one of name (one topic) and prefix (all topics under it)",
        ),
    )

    name: TopicName | None = None
    """Name of the topic. The broker enforces the grants on it."""
    prefix: TopicPrefix | None = None
    """Prefix of the names of the topics. The broker enforces the grants on it."""
    stream: StreamName | None = None
    """NATS stream that stores the messages. Without it, they are not stored. The broker enforces
    the consumers' grants on it."""


class Producer(Model):
    """Identity that may publish."""

    identity: Reference
    """ServiceIdentity of the producer. It must list this policy under publishes. The broker
    enforces it, and consumers with the edge library also verify the producer of each message."""


class Consumer(Model):
    """Identity that may consume."""

    identity: Reference
    """ServiceIdentity of the consumer. It must list this policy under consumes. The broker
    enforces it."""
    group: GroupName | None = None
    """Consumer group, queue group or durable consumer, if the broker has them. The broker enforces
    it."""
    tenants: Annotated[tuple[TenantName, ...], Field(min_length=1, max_length=64), SET] | None = (
        None
    )
    """Tenants whose messages this consumer accepts. Without it, all are accepted. It needs Tenant
    in context.require. The edge library in the consumer enforces it; the broker delivers the
    messages of all tenants."""
    retry: RetryTopic | None = None
    """Topic on which this consumer receives messages again after a review. A policy with several
    consumers needs one for each whose messages are redriven; otherwise all would receive them
    again."""


class ConfigMapKeyReference(Model):
    """Reference to one key of a ConfigMap in this namespace."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="(has(self.type) && self.type == 'Protobuf') == has(self.message)",
            message="set message with type Protobuf, and only with it",
            holds=lambda value: (value.type is SchemaType.PROTOBUF) == (value.message is not None),
        ),
    )

    name: Name
    """Name of the ConfigMap."""
    key: ConfigMapKey = "schema.json"
    """Key in the ConfigMap. Default schema.json."""
    type: SchemaType = SchemaType.JSON_SCHEMA
    """Format of the schema. JSONSchema (default) and Avro: JSON. Protobuf: a FileDescriptorSet,
    under binaryData, or in base64 under data."""
    message: MessageName | None = None
    """Full name of the message, such as shop.v1.Order. Only for Protobuf."""


class ProtobufSchema(Model):
    """Protobuf message, and the files that define it."""

    descriptor_set: Annotated[str, StringConstraints(min_length=1, max_length=MOST_BYTES)]
    """FileDescriptorSet in base64, as protoc --include_imports --descriptor_set_out writes it."""
    message: MessageName
    """Full name of the message, such as shop.v1.Order."""


class AcceptedSchemas(StrEnum):
    """Versions of a schema that a message may satisfy."""

    CURRENT = "Current"
    PREVIOUS = "Previous"


class MessageSchema(Model):
    """Schema of a message. Set exactly one of jsonSchema, avro, protobuf and configMapRef."""

    rules: ClassVar[tuple[Rule, ...]] = (
        exactly_one(
            "json_schema",
            "avro",
            "protobuf",
            "config_map_ref",
            message="set exactly one of jsonSchema, avro, protobuf and configMapRef",
        ),
    )

    json_schema: SchemaObject | None = None
    """JSON Schema, written in this field."""
    avro: SchemaObject | None = None
    """Avro schema, written in this field."""
    protobuf: ProtobufSchema | None = None
    """Protobuf message."""
    config_map_ref: ConfigMapKeyReference | None = None
    """ConfigMap in this namespace that holds a schema."""
    accept: AcceptedSchemas = AcceptedSchemas.CURRENT
    """Versions of the schema that are accepted. Current (default): only the schema above. Previous:
    also the one that it replaced, for messages of the time before the change. The edge library
    enforces it."""


class MessageContext(StrEnum):
    """Item of the context of a message."""

    ACTOR = "Actor"
    SUBJECT = "Subject"
    TENANT = "Tenant"
    REQUEST_ID = "RequestID"


class ContextEvidence(StrEnum):
    """Evidence of the subject, tenant and request ID of a message."""

    PRODUCER = "Producer"
    TRANSACTION_TOKEN = "TransactionToken"  # noqa: S105 - a kind of evidence, no secret


def _evidence_has_items(context: "RequiredContext") -> bool:
    if context.evidence is ContextEvidence.PRODUCER:
        return True
    return any(each is not MessageContext.ACTOR for each in context.require)


class RequiredContext(Model):
    """Context that a message must have, and its maximum age."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="!has(self.evidence) || self.evidence != 'TransactionToken' || "
            "self.require.exists(x, x != 'Actor')",
            message="require Subject, Tenant or RequestID with evidence: TransactionToken, which "
            "is evidence of these items only",
            holds=_evidence_has_items,
        ),
    )

    require: Annotated[tuple[MessageContext, ...], Field(min_length=1, max_length=4), SET]
    """Context items that must be present and verified. Actor: the workload that published the
    message. The edge library in producers and consumers enforces it; the broker does not."""
    evidence: ContextEvidence = ContextEvidence.PRODUCER
    """Evidence of Subject, Tenant and RequestID. Producer (default): the producer's signature.
    TransactionToken: a transaction token in the message, whose claims are these items. The edge
    library in producers and consumers enforces it; the broker does not."""
    max_age: Annotated[Duration, duration_between("1m", "2160h")] = MAX_AGE
    """Maximum age of a message. Default 168h. The edge library in consumers rejects older messages;
    the broker delivers them. Troth keeps retired roots and token keys at least this long, to verify
    messages of their time."""


class OnDelete(StrEnum):
    """Effect on the grants when the policy is deleted."""

    REVOKE = "Revoke"
    RETAIN = "Retain"


def _tenants_are_known(spec: "TopicPolicySpec") -> bool:
    if all(each.tenants is None for each in spec.consumers):
        return True
    return spec.context is not None and MessageContext.TENANT in spec.context.require


def _includes(spec: "TopicPolicySpec", topic: str) -> bool:
    named = spec.topic
    return named.name == topic or (named.prefix is not None and topic.startswith(named.prefix))


def _dead_letter_elsewhere(spec: "TopicPolicySpec") -> bool:
    return spec.dead_letter is None or not _includes(spec, spec.dead_letter.topic)


def _retries(spec: "TopicPolicySpec") -> list[RetryTopic]:
    return [each.retry for each in spec.consumers if each.retry is not None]


def _retries_elsewhere(spec: "TopicPolicySpec") -> bool:
    letters = None if spec.dead_letter is None else spec.dead_letter.topic
    topics = [each.topic for each in _retries(spec)]
    return letters not in topics and not any(_includes(spec, each) for each in topics)


def _retries_differ(spec: "TopicPolicySpec") -> bool:
    topics = [each.topic for each in _retries(spec)]
    return len({*topics}) == len(topics)


def _letters_have_own_stream(spec: "TopicPolicySpec") -> bool:
    stream = None if spec.dead_letter is None else spec.dead_letter.stream
    others = [spec.topic.stream, *(each.stream for each in _retries(spec))]
    return stream is None or stream not in others


class TopicPolicySpec(Model):
    """Desired state of a policy."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="!has(self.deadLetter) || "
            "((!has(self.topic.name) || self.topic.name != self.deadLetter.topic) && "
            "(!has(self.topic.prefix) || !self.deadLetter.topic.startsWith(self.topic.prefix)))",
            message="choose a deadLetter.topic that the policy's topic does not include; otherwise "
            "consumers receive their own dead letters again",
            holds=_dead_letter_elsewhere,
        ),
        Rule(
            cel="!has(self.consumers) || !self.consumers.exists(x, has(x.tenants)) || "
            "(has(self.context) && self.context.require.exists(x, x == 'Tenant'))",
            message="add Tenant to context.require, or remove consumers[].tenants; a message "
            "without a tenant cannot be checked",
            holds=_tenants_are_known,
        ),
        Rule(
            cel="!has(self.consumers) || self.consumers.all(x, !has(x.retry) || "
            "((!has(self.topic.name) || self.topic.name != x.retry.topic) && "
            "(!has(self.topic.prefix) || !x.retry.topic.startsWith(self.topic.prefix)) && "
            "(!has(self.deadLetter) || self.deadLetter.topic != x.retry.topic)))",
            message="choose a consumers[].retry.topic that the policy's topic does not include and "
            "that is not deadLetter.topic; otherwise others receive its messages too",
            holds=_retries_elsewhere,
        ),
        Rule(
            cel="!has(self.consumers) || self.consumers.all(x, !has(x.retry) || "
            "self.consumers.exists_one(y, has(y.retry) && y.retry.topic == x.retry.topic))",
            message="use each consumers[].retry.topic once; a retry topic is for one consumer",
            holds=_retries_differ,
        ),
        Rule(
            cel="!has(self.deadLetter) || !has(self.deadLetter.stream) || "
            "((!has(self.topic.stream) || self.topic.stream != self.deadLetter.stream) && "
            "(!has(self.consumers) || self.consumers.all(x, !has(x.retry) || "
            "!has(x.retry.stream) || x.retry.stream != self.deadLetter.stream)))",
            message="choose a deadLetter.stream that is neither topic.stream nor a "
            "consumers[].retry.stream; the reviewer reads all of it",
            holds=_letters_have_own_stream,
        ),
    )

    broker_ref: Reference
    """MessageBroker of the topic."""
    topic: PolicyTopic
    """Topic or topics of the policy. Their names must begin with a prefix that the broker owns."""
    environment: Annotated[
        Environment, Immutable("environment cannot change; create a new TopicPolicy instead")
    ]
    """Environment of the messages, the same as of the broker and the namespaces. Immutable. Troth
    makes no grant in another environment, and the edge library in consumers rejects messages of
    another one."""
    producers: Annotated[tuple[Producer, ...], Field(max_length=64, json_schema_extra=ATOMIC)] = ()
    """Identities that may publish. The broker denies all others."""
    consumers: Annotated[tuple[Consumer, ...], Field(max_length=64, json_schema_extra=ATOMIC)] = ()
    """Identities that may consume. The broker denies all others."""
    schema_: MessageSchema | None = None
    """Schema of a message. The edge library in producers and consumers enforces it; the broker does
    not. Set exactly one of jsonSchema, avro, protobuf and configMapRef."""
    context: RequiredContext | None = None
    """Context that a message must have, and its maximum age. Without it, a message needs no context
    and may be 168h old. The edge library enforces it; the broker does not."""
    dead_letter: DeadLetter | None = None
    """Topic to which consumers publish messages that they could not consume."""
    on_delete: OnDelete = OnDelete.REVOKE
    """Effect on the grants when the policy is deleted. Revoke (default): Troth revokes them.
    Retain: they stay at the broker, if its retention is Allow."""


class TopicPolicy(Resource):
    """Policy of one topic, or of all topics under a prefix: its producers and its consumers."""

    kind: Literal["TopicPolicy"] = "TopicPolicy"
    spec: TopicPolicySpec
    status: TopicPolicyStatus = TopicPolicyStatus()

    @cached_property
    def ref(self) -> Ref:
        """Namespace and name of the policy."""
        return Ref(self.metadata.namespace or "default", self.metadata.name)

    @cached_property
    def broker(self) -> Ref:
        """Namespace and name of its MessageBroker."""
        return self.spec.broker_ref.seen_from(self.ref.namespace)

    @cached_property
    def schema_map(self) -> Ref | None:
        """Namespace and name of the ConfigMap with its schema, None without one."""
        schema = self.spec.schema_
        if schema is None or schema.config_map_ref is None:
            return None
        return Ref(self.ref.namespace, schema.config_map_ref.name)
