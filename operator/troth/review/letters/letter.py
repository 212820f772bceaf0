"""A dead letter as the worker's index knows it. It has no payload."""

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import NamedTuple

from troth.resources.references import Ref


class Position(NamedTuple):
    """Place of a letter in its dead-letter topic. In NATS the partition is 0."""

    partition: int
    offset: int


class LetterState(StrEnum):
    """State of a letter: whether, and how, it is settled."""

    PENDING = "Pending"
    REDRIVEN = "Redriven"
    DISCARDED = "Discarded"
    QUARANTINED = "Quarantined"
    GONE = "Gone"
    """The broker no longer has it: its topic was compacted, or its time has passed."""


@dataclass(frozen=True, slots=True)
class Letter:
    """Dead letter of one policy.

    `consumer` is the SPIFFE ID of the workload that rejected the message, and `group` its group.
    `producer` and `tenant` are as the producer signed them, None if the signature of the message
    does not verify. `digest` is the SHA-256 of the message, in base64url; see `digest_of`.
    `redrives` counts how often the message was redriven before. `size` is that of the data in
    bytes.
    """

    id: str
    policy: Ref
    position: Position
    time: datetime
    consumer: str
    group: str | None
    reason: str
    origin: str
    attempts: int
    digest: str
    size: int
    event_id: str | None = None
    producer: str | None = None
    tenant: str | None = None
    redrives: int = 0
    state: LetterState = LetterState.PENDING
    review: Ref | None = None
    """Review that settled it."""
    review_uid: str | None = None
    """UID of that review. Another review may have had its name before."""


def lost(policy: Ref, id: str, digest: str) -> Letter:  # noqa: A002 - its name
    """Return what is left of a letter that the index no longer has."""
    return Letter(
        id=id,
        policy=policy,
        position=Position(-1, -1),
        time=datetime.fromtimestamp(0, UTC),
        consumer="",
        group=None,
        reason="",
        origin="",
        attempts=0,
        digest=digest,
        size=0,
        state=LetterState.GONE,
    )
