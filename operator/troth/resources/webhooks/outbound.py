"""Outbound webhook. Nothing is sent yet: the spec is stored for a later dispatcher."""

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
    """Signature scheme of outbound deliveries."""

    STANDARD_WEBHOOKS = "StandardWebhooks"


class Pin(Model):
    """Further requirements on the destination's certificate, beyond the roots of the system."""

    ca_bundle_ref: LocalReference | None = None
    """ConfigMap in this namespace whose ca.crt holds the roots to trust."""
    public_keys: Annotated[tuple[PublicKeyPin, ...], Field(max_length=8), SET] = ()
    """Pins of public keys. The destination's certificate must have one of these keys."""


class Sender(Model):
    """Workload that sends the deliveries."""

    identity: LocalReference
    """ServiceIdentity of the workload, in this namespace."""


class Retries(Model):
    """Retries of a delivery."""

    schedule: Annotated[
        tuple[Annotated[Duration, duration_between("1s", "72h")], ...],
        Field(max_length=16, json_schema_extra=ATOMIC),
    ] = tuple(timedelta(seconds=each) for each in (5, 300, 1800, 7200, 18000, 36000, 36000))
    """Delays before each further attempt. Default 5s, 5m, 30m, 2h, 5h, 10h, 10h."""


class Outbound(Model):
    """Outbound webhook. Troth sends nothing yet."""

    url: DestinationURL
    """URL to which deliveries go."""
    scheme: OutboundScheme = OutboundScheme.STANDARD_WEBHOOKS
    """Signature scheme of the deliveries. Default StandardWebhooks."""
    pin: Pin | None = None
    """Requirements on the destination's certificate, beyond the roots of the system."""
    sender: Sender
    """Workload that sends the deliveries."""
    retries: Retries = Retries()
    """Retries of a delivery."""
