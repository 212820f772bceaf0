"""Status of `WebhookEndpoint`: its URL, its keys, and the replays that its scheme permits."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints

from troth.resources.conditions import Conditions
from troth.resources.reported import Findings
from troth.resources.schema.lists import keyed_by
from troth.resources.schema.model import Observed
from troth.resources.schema.scalars import Time

MOST_KEYS = 16
"""Maximum number of keys of an endpoint. An endpoint with more is not served."""


class KeyState(StrEnum):
    """Whether a key stays in use or is retiring."""

    CURRENT = "Current"
    RETIRING = "Retiring"


class WebhookKey(Observed):
    """Key of the sender. The gateway tries all keys."""

    id: Annotated[str, StringConstraints(max_length=253)]
    """Entry of the Secret that holds the key."""
    fingerprint: Annotated[str, StringConstraints(max_length=64)] = ""
    """Fingerprint that identifies the key and reveals nothing of it."""
    state: KeyState = KeyState.CURRENT
    """State of the key. Current: in use. Retiring: Troth removes it once the next key has verified
    a delivery."""
    last_verified: Time | None = None
    """Time at which the key last verified a delivery, accurate to about an hour, as the gateway
    reports it."""
    until: Time | None = None
    """Earliest time at which Troth removes a retiring key."""


class WebhookEndpointStatus(Observed):
    """Observed state of an endpoint."""

    observed_generation: int | None = None
    """Generation of the spec that Troth last reconciled, -1 before the first time."""
    url: Annotated[str, StringConstraints(max_length=512)] = ""
    """URL to give to the sender."""
    keys: Annotated[
        tuple[WebhookKey, ...],
        Field(max_length=MOST_KEYS, json_schema_extra=keyed_by("id")),
    ] = ()
    """Keys that the gateway tries."""
    residual_replay: Annotated[str, StringConstraints(max_length=512)] = ""
    """Possible replay of a recorded delivery after the replay window: none, or a sentence for
    schemes that sign no timestamp."""
    findings: Findings = ()
    """Findings of the auditor about the resource, at most the first 32."""
    conditions: Conditions = ()
    """Conditions of the endpoint: Ready, SecretAvailable, GatewayConfigured, TargetReachable,
    Reconciling and Stalled. UnsignedAccepted if acceptUnsigned is declared."""
