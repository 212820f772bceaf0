"""`TopicPolicy`: one topic or all under a prefix, who publishes there and who consumes."""

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
            # Granular, managedFields would nest a few levels deeper than the object. Where that is
            # more than the API server decodes, it stores what it can then neither list nor delete.
            "x-kubernetes-map-type": "atomic",
        }
    ),
]


class PolicyTopic(Model):
    """A topic, queue or subject, or all whose names begin alike; exactly one."""

    rules: ClassVar[tuple[Rule, ...]] = (
        exactly_one(
            "name",
            "prefix",
            message="name exactly one: name, a topic, or prefix, what topics' names begin with",
        ),
    )

    name: TopicName | None = None
    """The topic's name."""
    prefix: TopicPrefix | None = None
    """What the names of the topics begin with."""
    stream: StreamName | None = None
    """The stream that keeps the messages, at NATS; they are not kept when left out."""


class Producer(Model):
    """One identity that may publish."""

    identity: Reference
    """The ServiceIdentity; it lists this policy under publishes."""


class Consumer(Model):
    """One identity that may consume."""

    identity: Reference
    """The ServiceIdentity; it lists this policy under consumes."""
    group: GroupName | None = None
    """The consumer group, queue group or durable consumer, where the broker has such."""


class ConfigMapKeyReference(Model):
    """Names one key of a ConfigMap of this namespace."""

    name: Name
    """The ConfigMap's name."""
    key: ConfigMapKey = "schema.json"
    """The key in it."""


class MessageSchema(Model):
    """What a message must look like; exactly one."""

    rules: ClassVar[tuple[Rule, ...]] = (
        exactly_one(
            "json_schema",
            "config_map_ref",
            message="choose exactly one: jsonSchema, written here, or configMapRef",
        ),
    )

    json_schema: JSONSchema | None = None
    """A JSON Schema."""
    config_map_ref: ConfigMapKeyReference | None = None
    """A ConfigMap of this namespace with a JSON Schema."""


class MessageContext(StrEnum):
    """One item of the context that a message carries."""

    ACTOR = "Actor"
    SUBJECT = "Subject"
    TENANT = "Tenant"
    REQUEST_ID = "RequestID"


class RequiredContext(Model):
    """What a message must carry."""

    require: Annotated[tuple[MessageContext, ...], Field(min_length=1, max_length=4), SET]
    """The items that must be there and verified. Actor: which workload published it."""


class Review(StrEnum):
    """Whether somebody looks at what could not be consumed."""

    REQUIRED = "Required"
    OPTIONAL = "Optional"


class DeadLetter(Model):
    """Where consumers put what they could not consume."""

    topic: TopicName
    """The topic's name; the policy's consumers may publish there."""
    review: Review = Review.REQUIRED
    """Required: a person looks at a message before it is published again. Optional: a program
    may."""


class OnDelete(StrEnum):
    """What becomes of the grants when the policy is deleted."""

    REVOKE = "Revoke"
    RETAIN = "Retain"


def _dead_letter_elsewhere(spec: "TopicPolicySpec") -> bool:
    if spec.dead_letter is None:
        return True
    topic, other = spec.topic, spec.dead_letter.topic
    return topic.name != other and (topic.prefix is None or not other.startswith(topic.prefix))


class TopicPolicySpec(Model):
    """What a policy says."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="!has(self.deadLetter) || "
            "((!has(self.topic.name) || self.topic.name != self.deadLetter.topic) && "
            "(!has(self.topic.prefix) || !self.deadLetter.topic.startsWith(self.topic.prefix)))",
            message="choose for deadLetter.topic one that the policy's topic does not include; "
            "consumers would be given their own failures again",
            holds=_dead_letter_elsewhere,
        ),
    )

    broker_ref: Reference
    """The MessageBroker."""
    topic: PolicyTopic
    """What the policy is about; it begins with a prefix that the broker owns."""
    environment: Annotated[
        Environment, Immutable("environment cannot change; create a new TopicPolicy instead")
    ]
    """The environment of the messages: that of the broker and of the namespaces; immutable."""
    producers: Annotated[tuple[Producer, ...], Field(max_length=64, json_schema_extra=ATOMIC)] = ()
    """Who may publish; nobody else can."""
    consumers: Annotated[tuple[Consumer, ...], Field(max_length=64, json_schema_extra=ATOMIC)] = ()
    """Who may consume; nobody else can."""
    schema_: MessageSchema | None = None
    """What a message must look like, for whoever publishes and whoever consumes."""
    context: RequiredContext | None = None
    """What a message must carry; it is not consumed otherwise."""
    dead_letter: DeadLetter | None = None
    """Where consumers put what they could not consume."""
    on_delete: OnDelete = OnDelete.REVOKE
    """Revoke: with the policy its grants end. Retain: they stay at the broker."""


class TopicPolicy(Resource):
    """One topic or all under a prefix: who publishes there and who consumes."""

    kind: Literal["TopicPolicy"] = "TopicPolicy"
    spec: TopicPolicySpec
    status: TopicPolicyStatus = TopicPolicyStatus()

    @cached_property
    def ref(self) -> Ref:
        """Where the policy is declared."""
        return Ref(self.metadata.namespace or "default", self.metadata.name)

    @cached_property
    def broker(self) -> Ref:
        """The MessageBroker that it names."""
        return self.spec.broker_ref.seen_from(self.ref.namespace)

    @cached_property
    def schema_map(self) -> Ref | None:
        """The ConfigMap that its schema is in, where it is in one."""
        schema = self.spec.schema_
        if schema is None or schema.config_map_ref is None:
            return None
        return Ref(self.ref.namespace, schema.config_map_ref.name)
