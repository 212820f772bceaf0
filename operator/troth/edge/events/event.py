"""A verified event, as the application gets it."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from troth.edge.events.redrive import Redrive


@dataclass(frozen=True, slots=True)
class Event:
    """Event whose every field is verified.

    `actor` is the SPIFFE ID of the workload that published it. `subject` is the party on whose
    behalf it did, `tenant` that party's tenant, and `request_id` the transaction; each is None if
    the event has none. With the evidence `TransactionToken`, the trust domain's issuer vouches for
    these three; otherwise the producer does. `about` is the attribute `subject` of CloudEvents.
    `payload` is the data as the schema's validator read it, None without a schema. `time` is aware
    UTC in whole seconds. `topic` is the one for which the event was sealed. `redrive` says which
    review delivered the event again, and who requested and approved it; None for any other event.
    """

    id: str
    type: str
    actor: str
    subject: str | None
    tenant: str | None
    request_id: str | None
    time: datetime
    topic: str
    policy: str
    about: str | None
    content_type: str
    data: bytes = field(repr=False)
    payload: Any = field(default=None, repr=False)
    redrive: Redrive | None = None
