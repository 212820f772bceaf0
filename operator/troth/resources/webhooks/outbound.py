"""A webhook that goes out. Nothing is sent yet: what is written here is kept for the dispatcher."""

from datetime import timedelta
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from troth.resources.references import LocalReference
from troth.resources.schema.lists import ATOMIC, SET
from troth.resources.schema.model import Model
from troth.resources.schema.scalars import Duration, duration_between
from troth.resources.webhooks.names import DestinationURL, PublicKeyPin


class OutboundScheme(StrEnum):
    """How deliveries are signed."""

    STANDARD_WEBHOOKS = "StandardWebhooks"


class Pin(Model):
    """How the destination proves itself, beyond what every root of the system vouches for."""

    ca_bundle_ref: LocalReference | None = None
    """The ConfigMap of this namespace whose ca.crt has the roots to trust."""
    public_keys: Annotated[tuple[PublicKeyPin, ...], Field(max_length=8), SET] = ()
    """The public keys, of which the destination's certificate has one."""


class Sender(Model):
    """Who sends."""

    identity: LocalReference
    """The ServiceIdentity, of this namespace."""


class Retries(Model):
    """When a delivery is tried again."""

    schedule: Annotated[
        tuple[Annotated[Duration, duration_between("1s", "72h")], ...],
        Field(max_length=16, json_schema_extra=ATOMIC),
    ] = tuple(timedelta(seconds=each) for each in (5, 300, 1800, 7200, 18000, 36000, 36000))
    """How long to wait before each further attempt."""


class Outbound(Model):
    """A webhook that goes out."""

    url: DestinationURL
    """Where deliveries go."""
    scheme: OutboundScheme = OutboundScheme.STANDARD_WEBHOOKS
    """How they are signed."""
    pin: Pin | None = None
    """How the destination proves itself."""
    sender: Sender
    """Who sends."""
    retries: Retries = Retries()
    """When a delivery is tried again."""
