"""Spec of `TopicPolicy`: one topic or all under a prefix, its producers and its consumers."""

from enum import StrEnum
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, StringConstraints, WithJsonSchema

from troth.resources.messaging.names import GroupName, StreamName, TopicName, TopicPrefix
from troth.resources.messaging.topic_policy_status import TopicPolicyStatus
from troth.resources.metadata import Resource
from troth.resources.references import Ref, Reference
from troth.resources.schema.lists import ATOMIC, SET
from troth.resources.schema.model import Model, exactly_one
from troth.resources.schema.rules import Immutable, Rule
from troth.resources.schema.scalars import Environment, Name, matching

ConfigMapKey = Annotated[
    str,
    StringConstraints(min_length=1, max_length=253),
    matching(
        "^[A-Za-z0-9._-]*$",
        "write a key of the ConfigMap as letters, digits and . _ -, such as schema.json",
    ),
]
JSONSchema = Annotated[
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
    """Name of the topic."""
    prefix: TopicPrefix | None = None
    """Prefix of the names of the topics."""
    stream: StreamName | None = None
    """NATS stream that stores the messages. Without it, they are not stored."""


class Producer(Model):
    """Identity that may publish."""

    identity: Reference
    """ServiceIdentity of the producer. It must list this policy under publishes."""


class Consumer(Model):
    """Identity that may consume."""

    identity: Reference
    """ServiceIdentity of the consumer. It must list this policy under consumes."""
    group: GroupName | None = None
    """Consumer group, queue group or durable consumer, if the broker has them."""


class ConfigMapKeyReference(Model):
    """Reference to one key of a ConfigMap in this namespace."""

    name: Name
    """Name of the ConfigMap."""
    key: ConfigMapKey = "schema.json"
    """Key in the ConfigMap. Default schema.json."""


class MessageSchema(Model):
    """Schema of a message. Set exactly one field."""

    rules: ClassVar[tuple[Rule, ...]] = (
        exactly_one(
            "json_schema",
            "config_map_ref",
            message="set exactly one of jsonSchema and configMapRef",
        ),
    )

    json_schema: JSONSchema | None = None
    """JSON Schema, written in this field."""
    config_map_ref: ConfigMapKeyReference | None = None
    """ConfigMap in this namespace that holds a JSON Schema."""


class MessageContext(StrEnum):
    """Item of the context of a message."""

    ACTOR = "Actor"
    SUBJECT = "Subject"
    TENANT = "Tenant"
    REQUEST_ID = "RequestID"


class RequiredContext(Model):
    """Context that a message must have."""

    require: Annotated[tuple[MessageContext, ...], Field(min_length=1, max_length=4), SET]
    """Context items that must be present and verified. Actor: the workload that published the
    message."""


class Review(StrEnum):
    """Whether a person reviews messages that could not be consumed."""

    REQUIRED = "Required"
    OPTIONAL = "Optional"


class DeadLetter(Model):
    """Topic to which consumers publish messages that they could not consume."""

    topic: TopicName
    """Name of the topic. The policy's consumers may publish to it."""
    review: Review = Review.REQUIRED
    """Review of a message before it is published again. Required (default): a person reviews it.
    Optional: a program may publish it again."""


class OnDelete(StrEnum):
    """Effect on the grants when the policy is deleted."""

    REVOKE = "Revoke"
    RETAIN = "Retain"


def _dead_letter_elsewhere(spec: "TopicPolicySpec") -> bool:
    if spec.dead_letter is None:
        return True
    topic, other = spec.topic, spec.dead_letter.topic
    return topic.name != other and (topic.prefix is None or not other.startswith(topic.prefix))


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
    )

    broker_ref: Reference
    """MessageBroker of the topic."""
    topic: PolicyTopic
    """Topic or topics of the policy. Their names must begin with a prefix that the broker owns."""
    environment: Annotated[
        Environment, Immutable("environment cannot change; create a new TopicPolicy instead")
    ]
    """Environment of the messages, the same as of the broker and the namespaces. Immutable."""
    producers: Annotated[tuple[Producer, ...], Field(max_length=64, json_schema_extra=ATOMIC)] = ()
    """Identities that may publish. All others are denied."""
    consumers: Annotated[tuple[Consumer, ...], Field(max_length=64, json_schema_extra=ATOMIC)] = ()
    """Identities that may consume. All others are denied."""
    schema_: MessageSchema | None = None
    """Schema of a message, for producers and consumers. Set exactly one field."""
    context: RequiredContext | None = None
    """Context that a message must have. A message without it is not consumed."""
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
