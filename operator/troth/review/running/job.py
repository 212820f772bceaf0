"""One review to carry out, the parts that carry it out, and the desk to which they report."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from troth.cluster.denials import denial
from troth.cluster.errors import ApiError
from troth.edge.events.rejection import RejectedError
from troth.edge.identity.snapshot import IdentityError
from troth.resources.reviews.dead_letter_review import DeadLetterReview
from troth.resources.reviews.dead_letter_review_status import SelectionStatus
from troth.review.brokers import DeadLetterTopic, TooLargeError
from troth.review.letters.records import Records
from troth.review.ports import Audit, Following, Index
from troth.review.running.courier import Courier
from troth.review.running.pace import TokenBucket
from troth.review.running.progress import Progress
from troth.review.selection import Ends
from troth.review.trail.decisions import Review


@dataclass(frozen=True, slots=True)
class Job:
    """Review to carry out, and the letters that it selected.

    `uncertain` says that an earlier process began it and may have ended within a batch.
    """

    review: DeadLetterReview
    uid: str
    created: datetime
    selection: SelectionStatus
    uncertain: bool = False
    ends: Ends | None = None
    """Where the letters of the selection end, None if that is not known any more."""

    @property
    def about(self) -> Review:
        """The review, as the audit log names it."""
        return about(self.review, self.uid)


class Desk(Protocol):
    """Desk to which the runner reports, and which says whether it goes on."""

    def stopped(self) -> bool:
        """Return whether nothing more may be done: withdrawn, or deleted."""

    def require(self) -> None:
        """Raise an exception unless this process may act now."""

    def now(self) -> datetime:
        """Return the current time."""

    async def pause(self, failures: int) -> None:
        """Wait after the given number of failures in a row, or until something changes."""

    def waits(self, reason: str, message: str) -> None:
        """Take in why the review cannot go on at the moment, in CamelCase and as a sentence."""

    def advanced(self, progress: Progress) -> None:
        """Take in the progress after a batch."""

    async def announce(self, progress: Progress) -> None:
        """Write the progress, and return once it cannot be lost."""


@dataclass(frozen=True, slots=True)
class Tools:
    """Parts that the runner uses. `index` blocks."""

    topic: DeadLetterTopic
    index: Index
    courier: Courier
    records: Records
    audit: Audit
    bucket: TokenBucket
    following: Following | None = None
    """What feeds the index, None if nothing does."""
    monotonic: Callable[[], float] = time.monotonic


class SelectionChangedError(Exception):
    """The letters that the review selects are not those that were approved."""


class NotIndexedError(Exception):
    """The index does not have all letters yet."""


class NotAuditedError(Exception):
    """The audit log cannot be written, so nothing is carried out."""


def fault_of(error: Exception) -> tuple[str, str]:
    """Return why a review waits, as a CamelCase reason and a sentence."""
    match error:
        case RejectedError():
            return str(error.rejection.reason), error.rejection.detail
        case IdentityError():
            return "IdentityUnavailable", str(error)
        case TooLargeError():
            return "RecordTooLarge", str(error)
        case NotIndexedError():
            return "IndexIncomplete", str(error)
        case ApiError():
            said = denial(error) or f"a request of the worker to the API server failed: {error}"
            return "APIRequestFailed", said
        case NotAuditedError():
            return "AuditLogUnavailable", f"the audit log cannot be written: {error}"
        case _:
            return "BrokerUnavailable", str(error)


def about(review: DeadLetterReview, uid: str) -> Review:
    """Return a review as the audit log names it."""
    approval = review.spec.approval
    return Review(
        review.ref,
        uid,
        review.policy,
        review.spec.action,
        review.spec.requested_by,
        approval.approved_by if approval else None,
    )


async def wait(desk: Desk, error: Exception, failures: int) -> None:
    """Say why the review waits, and wait."""
    desk.waits(*fault_of(error))
    await desk.pause(failures)
