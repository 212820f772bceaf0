"""Status of `TopicPolicy`: each grant that the policy or an identity declares."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints

from troth.resources.conditions import Conditions
from troth.resources.reported import Findings
from troth.resources.schema.lists import ATOMIC, keyed_by
from troth.resources.schema.model import Observed
from troth.resources.schema.scalars import Time

CLAIM_LIMIT = 256
"""Maximum number of claims in a status: more than a policy can have."""


class Action(StrEnum):
    """Action of a principal on messages."""

    PUBLISH = "Publish"
    CONSUME = "Consume"
    REVIEW = "Review"


class GrantState(StrEnum):
    """State of a grant: whether the broker has it, and what it waits for."""

    IN_SYNC = "InSync"
    LIVE = "Live"
    AWAITING_POLICY = "AwaitingPolicy"
    AWAITING_IDENTITY = "AwaitingIdentity"
    REFUSED = "Refused"
    SUSPENDED = "Suspended"
    INACTIVE = "Inactive"


class EnforcedBy(StrEnum):
    """Program that enforces what a policy says of a consumer's messages."""

    BROKER = "Broker"
    EDGE = "Edge"


class GrantStatus(Observed):
    """Grant of one action on one topic to one identity."""

    identity: Annotated[str, StringConstraints(max_length=320)]
    """ServiceIdentity as namespace/name."""
    action: Action
    """Action that the identity may take."""
    topic: Annotated[str, StringConstraints(max_length=256)] | None = None
    """Topic of deadLetter or a retry topic, if the grant is on it and not on the policy's own
    topic."""
    group: Annotated[str, StringConstraints(max_length=256)] | None = None
    """Group with which the identity consumes."""
    state: GrantState
    """State of the grant. InSync: the broker has it. Live: all sides agree, and the broker is not
    known to have it yet. AwaitingPolicy or AwaitingIdentity: that side does not name the other.
    Refused: declared, but not allowed. Suspended: rules at the broker stay and none are added until
    a conflict is resolved. Inactive: it exists only while an approved review needs it."""
    reason: Annotated[str, StringConstraints(max_length=64)] | None = None
    """CamelCase reason why the grant is not live."""
    message: Annotated[str, StringConstraints(max_length=1024)] | None = None
    """Change that is needed for the grant to become live."""
    enforcement: EnforcedBy | None = None
    """Where the policy is enforced for this consumer, if the policy has a context or a schema.
    Broker: the broker enforces who may consume, and nothing is known to check the messages. Edge:
    every connected client of the consumer also names Troth's guard for events."""


class PolicyClaimKind(StrEnum):
    """Kind of a name at a broker that grants of one policy have for themselves."""

    GROUP = "Group"
    STREAM = "Stream"
    TOPIC = "Topic"


class PolicyClaim(Observed):
    """Name at a broker that belongs to the policy."""

    kind: PolicyClaimKind
    """Kind of the name. Group: only its consumers use the group. Stream: a stream of its messages,
    which no reviewer of other messages reads. Topic: the environment of the topic is that of the
    policy, and a retry topic has one consumer."""
    name: Annotated[str, StringConstraints(max_length=256)]
    """Group, stream or topic. A prefix of topics ends with `*`."""
    broker: Annotated[str, StringConstraints(max_length=320)]
    """MessageBroker as namespace/name."""
    since: Time
    """Time at which Troth first accepted the claim. The oldest claim stands."""


class ReasonCount(Observed):
    """Number of dead letters with one reason."""

    reason: Annotated[str, StringConstraints(max_length=64)]
    """Reason of the rejection."""
    count: Annotated[int, Field(ge=0)]
    """Number of dead letters."""


class DeadLetterCounts(Observed):
    """Dead letters of a policy that await a decision."""

    pending: Annotated[int, Field(ge=0)]
    """Number of dead letters without a decision."""
    quarantined: Annotated[int, Field(ge=0)] = 0
    """Number of dead letters that are set aside."""
    oldest: Time | None = None
    """Time of the oldest one without a decision."""
    reasons: Annotated[
        tuple[ReasonCount, ...], Field(max_length=32, json_schema_extra=keyed_by("reason"))
    ] = ()
    """Numbers of those without a decision, by reason."""
    unreadable: Annotated[int, Field(ge=0)] = 0
    """Number of messages on the dead-letter topic that are no valid dead letter."""


class TopicPolicyStatus(Observed):
    """Observed state of a policy."""

    observed_generation: int | None = None
    """Generation of the spec that Troth last reconciled, -1 before the first time."""
    grants: Annotated[tuple[GrantStatus, ...], Field(max_length=512, json_schema_extra=ATOMIC)] = ()
    """Grants that the policy or an identity declares, and their states."""
    claims: Annotated[
        tuple[PolicyClaim, ...],
        Field(max_length=CLAIM_LIMIT, json_schema_extra=ATOMIC),
    ] = ()
    """Names at the broker that belong to the policy, because a grant of it was live with them. A
    policy that claims one of them later is suspended. At most the first 256."""
    dead_letters: Annotated[DeadLetterCounts | None, Field(exclude=True)] = None
    """Dead letters that await a decision. `troth review` writes it."""
    findings: Findings = ()
    """Findings of the auditor about the resource, at most the first 32."""
    conditions: Conditions = ()
    """Conditions of the policy: Ready, GrantsInSync, Exclusive, SchemaValid, PeersAgree,
    EdgesValidated, RetentionAllowed, Reconciling and Stalled."""
