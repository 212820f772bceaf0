"""Where a `TopicPolicy` stands: each grant that it or an identity declares."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints

from troth.resources.conditions import Conditions
from troth.resources.schema.lists import ATOMIC
from troth.resources.schema.model import Model


class Action(StrEnum):
    """What a principal may do with messages."""

    PUBLISH = "Publish"
    CONSUME = "Consume"


class GrantState(StrEnum):
    """Whether a grant is made, and what it waits for."""

    IN_SYNC = "InSync"
    LIVE = "Live"
    AWAITING_POLICY = "AwaitingPolicy"
    AWAITING_IDENTITY = "AwaitingIdentity"
    REFUSED = "Refused"
    SUSPENDED = "Suspended"


class GrantStatus(Model):
    """One action on one topic, for one identity."""

    identity: Annotated[str, StringConstraints(max_length=320)]
    """The identity as namespace/name."""
    action: Action
    """What it may do."""
    topic: Annotated[str, StringConstraints(max_length=256)] | None = None
    """The topic, where it is not the policy's own: that of deadLetter."""
    group: Annotated[str, StringConstraints(max_length=256)] | None = None
    """The group by which it consumes."""
    state: GrantState
    """InSync: the broker has it. Live: all agree, and the broker is not known to have it yet.
    AwaitingPolicy or AwaitingIdentity, when that side does not name the other; Refused; or
    Suspended: what the broker has of it stays and nothing is added until a conflict is mended."""
    reason: Annotated[str, StringConstraints(max_length=64)] | None = None
    """Why it is not live, in one CamelCase word."""
    message: Annotated[str, StringConstraints(max_length=1024)] | None = None
    """What to change for it to become live."""


class TopicPolicyStatus(Model):
    """Where a policy stands."""

    observed_generation: int | None = None
    """The generation of the spec that was last acted on."""
    grants: Annotated[tuple[GrantStatus, ...], Field(max_length=512, json_schema_extra=ATOMIC)] = ()
    """Every grant that the policy or an identity declares, and its state."""
    conditions: Conditions = ()
    """Ready, GrantsInSync, SchemaValid, PeersAgree, Reconciling, Stalled."""
