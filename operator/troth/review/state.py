"""Status of a review from phase to phase. Pure."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from troth.planning.verdicts import false, stalled, true
from troth.resources.conditions import Verdict, placed
from troth.resources.metadata import is_terminating
from troth.resources.reviews.dead_letter_review import DeadLetterReview
from troth.resources.reviews.dead_letter_review_status import DeadLetterReviewStatus, ReviewPhase
from troth.review.four_eyes import Verdict as Decided
from troth.review.running.progress import Progress

STOPPED = "WorkerStopped"
"""Reason of a running review whose worker ended between two batches."""

_GOOD_ENDS = frozenset({ReviewPhase.COMPLETED, ReviewPhase.WITHDRAWN})


@dataclass(frozen=True, slots=True)
class Place:
    """Phase of a review, and why: a CamelCase reason and a sentence."""

    phase: ReviewPhase
    reason: str
    message: str


def moved(
    review: DeadLetterReview,
    status: DeadLetterReviewStatus,
    place: Place,
    now: datetime,
    **changes: Any,  # noqa: ANN401 - members of the status
) -> DeadLetterReviewStatus:
    """Return a status in a phase, with conditions that say why. `changes` are other members."""
    generation, phase = review.metadata.generation, place.phase
    conditions = tuple(
        placed(each, status.conditions, generation, now)
        for each in _conditions(phase, place.reason, place.message)
    )
    ended = {"ended_at": now} if phase.ended and status.ended_at is None else {}
    begun = {"started_at": now} if phase is ReviewPhase.RUNNING and not status.started_at else {}
    return status.model_copy(
        update={
            "observed_generation": generation,
            "phase": phase,
            "conditions": conditions,
            **begun,
            **ended,
            **changes,
        }
    )


def waiting(status: DeadLetterReviewStatus, verdict: Decided) -> Place:
    """Return the place of a review that waits: a running one stays so."""
    running = status.phase is ReviewPhase.RUNNING
    phase = ReviewPhase.RUNNING if running else ReviewPhase.PENDING
    return Place(phase, verdict.reason, verdict.message)


def needs_selection(review: DeadLetterReview, status: DeadLetterReviewStatus) -> bool:
    """Return whether the letters of a review are to be selected, for the first time or again.

    A review that was changed since may select others. An approval changes nothing else, and is one
    generation.
    """
    if review.spec.withdrawal is not None or is_terminating(review):
        return False
    if status.selection is None:
        return True
    if status.phase is ReviewPhase.RUNNING:
        return False
    changes = review.metadata.generation - (status.observed_generation or 0)
    return changes > (review.spec.approval is not None)


def is_same(review: DeadLetterReview, other: DeadLetterReview) -> bool:
    """Return whether two versions of a review have one spec, and one state of deletion."""
    return (
        review.metadata.uid == other.metadata.uid
        and review.metadata.generation == other.metadata.generation
        and is_terminating(review) == is_terminating(other)
    )


def kept(status: DeadLetterReviewStatus) -> dict[str, int | None]:
    """Return the member that says of which spec the selection of a status is."""
    selected = status.selection is not None
    return {"observed_generation": status.observed_generation} if selected else {}


def advanced(status: DeadLetterReviewStatus, progress: Progress) -> DeadLetterReviewStatus:
    """Return a status with the progress of a review."""
    return status.model_copy(update={"counts": progress.counts(), "letters": progress.letters()})


def was_stopped(status: DeadLetterReviewStatus) -> bool:
    """Return whether a worker ended between two batches of a running review."""
    return any(each.type == "Reconciling" and each.reason == STOPPED for each in status.conditions)


def _conditions(phase: ReviewPhase, reason: str, message: str) -> tuple[Verdict, ...]:
    if phase in _GOOD_ENDS:
        return (
            true("Ready", reason, message),
            false("Reconciling", "Settled"),
            false("Stalled", "Settled"),
        )
    ready = false("Ready", reason, message)
    if phase is ReviewPhase.REFUSED:
        return (ready, *stalled(ready))
    return (ready, true("Reconciling", reason, message), false("Stalled", "Reconciling"))
