"""Status of `DeadLetterReview`, which `troth review` writes and the operator never."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints

from troth.resources.conditions import Conditions
from troth.resources.schema.lists import keyed_by
from troth.resources.schema.model import Observed
from troth.resources.schema.scalars import Time

MOST_LISTED = 256
"""Maximum number of letters that a status lists. The audit log has all."""


class ReviewPhase(StrEnum):
    """Phase of a review."""

    PENDING = "Pending"
    AWAITING_APPROVAL = "AwaitingApproval"
    RUNNING = "Running"
    COMPLETED = "Completed"
    WITHDRAWN = "Withdrawn"
    REFUSED = "Refused"

    @property
    def ended(self) -> bool:
        """Whether nothing more is done for the review."""
        return self in {ReviewPhase.COMPLETED, ReviewPhase.WITHDRAWN, ReviewPhase.REFUSED}


class LetterOutcome(StrEnum):
    """What was done with a letter."""

    REDRIVEN = "Redriven"
    DISCARDED = "Discarded"
    QUARANTINED = "Quarantined"
    SKIPPED = "Skipped"
    FAILED = "Failed"


class SelectionStatus(Observed):
    """Letters that the review selects."""

    count: Annotated[int, Field(ge=0)]
    """Number of letters."""
    digest: Annotated[str, StringConstraints(max_length=43)]
    """SHA-256 in base64url of their IDs and digests, in their order."""
    at: Time
    """Time at which they were selected."""


class LetterStatus(Observed):
    """Letter of the review, and what was done with it."""

    id: Annotated[str, StringConstraints(max_length=64)]
    """ID of the dead letter."""
    digest: Annotated[str, StringConstraints(max_length=43)]
    """SHA-256 in base64url of its message."""
    outcome: LetterOutcome
    """What was done with it."""
    reason: Annotated[str, StringConstraints(max_length=64)] | None = None
    """CamelCase reason of the outcome, if it is not what the review asks for."""


class OutcomeCounts(Observed):
    """Numbers of letters by outcome."""

    redriven: Annotated[int, Field(ge=0)] = 0
    """Letters whose messages were delivered again."""
    discarded: Annotated[int, Field(ge=0)] = 0
    """Letters that were discarded."""
    quarantined: Annotated[int, Field(ge=0)] = 0
    """Letters that were set aside."""
    skipped: Annotated[int, Field(ge=0)] = 0
    """Letters with which nothing was done; `letters` says why."""
    failed: Annotated[int, Field(ge=0)] = 0
    """Letters for which the broker refused what was to be done."""
    repeated: Annotated[int, Field(ge=0)] = 0
    """Letters whose messages were perhaps delivered twice, because the worker ended between the
    delivery and its record. The guard of a consumer with a store for duplicates drops the second.
    """


class DeadLetterReviewStatus(Observed):
    """Progress and result of a review."""

    observed_generation: int | None = None
    """Generation of the spec that the worker last saw, -1 before the first time."""
    phase: ReviewPhase = ReviewPhase.PENDING
    """Phase of the review. AwaitingApproval: another user must approve it. Refused: it cannot be
    carried out; the condition Ready says why."""
    selection: SelectionStatus | None = None
    """Letters that the review selects."""
    counts: OutcomeCounts = OutcomeCounts()
    """Numbers of its letters by outcome."""
    letters: Annotated[
        tuple[LetterStatus, ...], Field(max_length=MOST_LISTED, json_schema_extra=keyed_by("id"))
    ] = ()
    """Letters with their outcome, at most the first 256. The audit log has all."""
    started_at: Time | None = None
    """Time at which the worker began to carry it out."""
    ended_at: Time | None = None
    """Time at which the review ended."""
    audit_entry: Annotated[int, Field(ge=0)] | None = None
    """Number of the last entry of the audit log about the review."""
    conditions: Conditions = ()
    """Conditions of the review: Ready, Reconciling and Stalled."""
