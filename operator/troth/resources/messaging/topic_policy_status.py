"""Status of `TopicPolicy`: each grant that the policy or an identity declares."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints

from troth.resources.conditions import Conditions
from troth.resources.schema.lists import ATOMIC
from troth.resources.schema.model import Observed


class Action(StrEnum):
    """Action of a principal on messages."""

    PUBLISH = "Publish"
    CONSUME = "Consume"


class GrantState(StrEnum):
    """State of a grant: whether the broker has it, and what it waits for."""

    IN_SYNC = "InSync"
    LIVE = "Live"
    AWAITING_POLICY = "AwaitingPolicy"
    AWAITING_IDENTITY = "AwaitingIdentity"
    REFUSED = "Refused"
    SUSPENDED = "Suspended"


class GrantStatus(Observed):
    """Grant of one action on one topic to one identity."""

    identity: Annotated[str, StringConstraints(max_length=320)]
    """ServiceIdentity as namespace/name."""
    action: Action
    """Action that the identity may take."""
    topic: Annotated[str, StringConstraints(max_length=256)] | None = None
    """Topic of deadLetter, if the grant is on it and not on the policy's own topic."""
    group: Annotated[str, StringConstraints(max_length=256)] | None = None
    """Group with which the identity consumes."""
    state: GrantState
    """State of the grant. InSync: the broker has it. Live: all sides agree, and the broker is not
    known to have it yet. AwaitingPolicy or AwaitingIdentity: that side does not name the other.
    Refused: declared, but not allowed. Suspended: rules at the broker stay and none are added until
    a conflict is resolved."""
    reason: Annotated[str, StringConstraints(max_length=64)] | None = None
    """CamelCase reason why the grant is not live."""
    message: Annotated[str, StringConstraints(max_length=1024)] | None = None
    """Change that is needed for the grant to become live."""


class TopicPolicyStatus(Observed):
    """Observed state of a policy."""

    observed_generation: int | None = None
    """Generation of the spec that Troth last reconciled, -1 before the first time."""
    grants: Annotated[tuple[GrantStatus, ...], Field(max_length=512, json_schema_extra=ATOMIC)] = ()
    """Grants that the policy or an identity declares, and their states."""
    conditions: Conditions = ()
    """Conditions of the policy: Ready, GrantsInSync, Exclusive, SchemaValid, PeersAgree,
    RetentionAllowed, Reconciling and Stalled."""
