"""Where a `WebhookEndpoint` stands: its URL, its keys, and what its scheme leaves open."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints

from troth.resources.conditions import Conditions
from troth.resources.schema.model import Model
from troth.resources.schema.scalars import Time

MOST_KEYS = 16
"""Keys of one endpoint that are tried; an endpoint with more is not served."""


class KeyState(StrEnum):
    """Whether a key stays."""

    CURRENT = "Current"
    RETIRING = "Retiring"


class WebhookKey(Model):
    """One of the sender's keys, all of which are tried."""

    id: Annotated[str, StringConstraints(max_length=253)]
    """The key of the Secret under which it is."""
    fingerprint: Annotated[str, StringConstraints(max_length=64)] = ""
    """What tells it from another, and nothing of the key."""
    state: KeyState = KeyState.CURRENT
    """Current; Retiring: it is dropped once the next one has verified a delivery."""
    last_verified: Time | None = None
    """When a delivery was last verified with it, give or take an hour, as its gateway reports."""
    until: Time | None = None
    """When a retiring key is dropped, at the earliest."""


class WebhookEndpointStatus(Model):
    """Where an endpoint stands."""

    observed_generation: int | None = None
    """The generation of the spec that was last acted on."""
    url: Annotated[str, StringConstraints(max_length=512)] = ""
    """The URL to give to the sender."""
    keys: Annotated[
        tuple[WebhookKey, ...],
        Field(
            max_length=MOST_KEYS,
            json_schema_extra={
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["id"],
            },
        ),
    ] = ()
    """The keys that are tried."""
    residual_replay: Annotated[str, StringConstraints(max_length=512)] = ""
    """What a recorded delivery is still good for once it is forgotten: none, or a sentence for
    schemes that sign no time."""
    conditions: Conditions = ()
    """Ready, SecretAvailable, GatewayConfigured, TargetReachable, Reconciling, Stalled."""
