"""Spec of `DeadLetterReview`: a decision about dead letters, which `troth review` carries out once.

A ValidatingAdmissionPolicy of the chart holds `requestedBy`, `approvedBy` and `withdrawnBy` to the
user who writes them.
"""

import re
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

from troth.resources.messaging.names import TenantName
from troth.resources.metadata import Resource
from troth.resources.references import LocalReference, Ref, Reference
from troth.resources.reviews.dead_letter_review_status import DeadLetterReviewStatus
from troth.resources.schema.lists import SET
from troth.resources.schema.model import Model
from troth.resources.schema.rules import Immutable, Rule
from troth.resources.schema.scalars import Moment, Sentence, is_moment, matching

MOST_SELECTED = 1_000_000
"""Maximum number of letters of one review."""

LETTER_ID = re.compile("[A-Za-z0-9_-]{1,64}", re.ASCII)
"""Form of a dead letter's ID."""
LetterID = Annotated[
    str,
    StringConstraints(min_length=1, max_length=64),
    matching("^[A-Za-z0-9_-]*$", "write the ID of a dead letter, as troth deadletters list shows"),
]
ReasonName = Annotated[
    str,
    StringConstraints(min_length=1, max_length=64),
    matching("^[A-Z][A-Za-z]*$", "write a reason in CamelCase, such as SchemaInvalid"),
]
SelectionDigest = Annotated[
    str,
    StringConstraints(max_length=43),
    matching("^[A-Za-z0-9_-]{43}$", "write the value of status.selection.digest"),
]
User = Annotated[
    str,
    StringConstraints(min_length=1, max_length=256),
    Rule(
        cel=r"self.matches('^[\\p{L}\\p{M}\\p{N}\\p{P}\\p{S} ]*$')",
        message="write the name of a user as kubectl auth whoami shows it",
        holds=str.isprintable,
    ),
]
Rate = Annotated[
    str,
    StringConstraints(max_length=16),
    matching("^[1-9][0-9]{0,4}/[smh]$", "write letters per second, minute or hour, such as 50/s"),
]


def _in_order(select: "Letters") -> bool:
    return select.since is None or select.until is None or select.since <= select.until


class Letters(Model):
    """Dead letters of a policy, by any of these properties together. All letters if empty."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="!has(self.since) || !has(self.until) || "
            f"!({is_moment('self.since')} && {is_moment('self.until')}) || "
            "timestamp(self.since) <= timestamp(self.until)",
            message="choose a since that is not after until; otherwise no letter is selected",
            holds=_in_order,
        ),
    )

    ids: Annotated[tuple[LetterID, ...], Field(min_length=1, max_length=256), SET] | None = None
    """IDs of the dead letters."""
    reason: ReasonName | None = None
    """Reason of the rejection, such as SchemaInvalid."""
    consumer: Reference | None = None
    """ServiceIdentity of the consumer that rejected the messages."""
    producer: Reference | None = None
    """ServiceIdentity of the producer of the messages, as the signature of a message proves it."""
    tenant: TenantName | None = None
    """Tenant of the messages, as the producer signed it."""
    since: Moment | None = None
    """Time of the earliest dead letter."""
    until: Moment | None = None
    """Time of the latest dead letter. Defaults to the time at which the review was created, so that
    what is approved is what was requested."""
    limit: Annotated[int, Field(ge=1, le=MOST_SELECTED, strict=True)] = 1000
    """Maximum number of dead letters, the oldest first. Default 1000."""


class ReviewAction(StrEnum):
    """What happens to the letters of a review."""

    REDRIVE = "Redrive"
    DISCARD = "Discard"
    QUARANTINE = "Quarantine"


class Approval(Model):
    """Approval by a second person."""

    approved_by: User
    """User who approves. It is another one than requestedBy."""
    selection: SelectionDigest | None = None
    """Value of status.selection.digest that the user has seen. If the letters that the review
    selects have another digest, nothing is done."""


class Withdrawal(Model):
    """End of a review before it is completed."""

    withdrawn_by: User
    """User who ends the review."""
    reason: Sentence
    """Reason why the review ends."""


def _approver_is_another(spec: "DeadLetterReviewSpec") -> bool:
    return spec.approval is None or spec.approval.approved_by != spec.requested_by


class DeadLetterReviewSpec(Model):
    """Decision about dead letters. Once it is approved, it cannot change; it can be withdrawn."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="!has(self.approval) || self.approval.approvedBy != self.requestedBy",
            message="let another user approve; nobody approves an own request",
            holds=_approver_is_another,
        ),
    )

    policy: Annotated[
        LocalReference, Immutable("policy cannot change; create a new DeadLetterReview instead")
    ]
    """TopicPolicy, in this namespace, whose dead letters are meant. Immutable."""
    select: Letters = Letters()
    """Dead letters that are meant."""
    action: ReviewAction
    """What happens to them. Redrive: their messages are delivered again, to the consumer that
    rejected them. Discard: they are marked as settled. Quarantine: they are set aside, and only a
    review that lists their IDs selects them again."""
    reason: Sentence
    """Reason of the decision, for the record."""
    rate: Rate = "50/s"
    """Maximum rate of redrives. Default 50/s."""
    requested_by: User
    """User who requests it: the one who creates the review."""
    approval: Approval | None = None
    """Approval by a second person, which `deadLetter.approvals` of the policy may require."""
    withdrawal: Withdrawal | None = None
    """Ends the review. Letters that are settled already stay so."""


class DeadLetterReview(Resource):
    """Decision about dead letters of a policy, with its approval and its result."""

    # Troth derives no names from its name, so the limit of other kinds does not apply
    rules: ClassVar[tuple[Rule, ...]] = ()

    kind: Literal["DeadLetterReview"] = "DeadLetterReview"
    spec: DeadLetterReviewSpec
    status: DeadLetterReviewStatus = DeadLetterReviewStatus()

    @cached_property
    def ref(self) -> Ref:
        """Namespace and name of the review."""
        return Ref(self.metadata.namespace or "default", self.metadata.name)

    @cached_property
    def policy(self) -> Ref:
        """Namespace and name of its TopicPolicy."""
        return Ref(self.ref.namespace, self.spec.policy.name)

    def until(self, created: datetime) -> datetime:
        """Return the time of the latest letter that it selects; `created` is its own."""
        return min(self.spec.select.until or created, created)
