"""Decisions that the audit log has an entry for. None has a payload or a header of a message."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, ClassVar

from troth.resources.references import Ref
from troth.resources.reviews.dead_letter_review import ReviewAction
from troth.resources.reviews.dead_letter_review_status import LetterOutcome

MOST_LETTERS = 50
"""Maximum number of letters in one entry: container runtimes split a line of more than 16 KiB."""


@dataclass(frozen=True, slots=True)
class Review:
    """Review that a decision is about, with the users who requested and approved it."""

    ref: Ref
    uid: str
    policy: Ref
    action: ReviewAction
    requested_by: str
    approved_by: str | None = None


@dataclass(frozen=True, slots=True)
class SettledLetter:
    """Letter with its outcome. `reason` is in CamelCase, None if the outcome is what was asked."""

    id: str
    digest: str
    outcome: LetterOutcome
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Requested:
    """A user requested the review. `reason` is in the user's words.

    `digest` is that of the selection, which has `count` letters; see `digest_of_selection`.
    """

    decision: ClassVar[str] = "Requested"

    review: Review
    reason: str
    count: int
    digest: str


@dataclass(frozen=True, slots=True)
class Approved:
    """A second user approved it. `digest` is that of the selection, if the approval names one."""

    decision: ClassVar[str] = "Approved"

    review: Review
    digest: str | None = None


@dataclass(frozen=True, slots=True)
class Started:
    """The worker began to carry it out. `resumed` says that it had begun before."""

    decision: ClassVar[str] = "Started"

    review: Review
    count: int
    digest: str
    resumed: bool = False


@dataclass(frozen=True, slots=True)
class Settled:
    """Letters of the review were settled, or the review left them as they were."""

    decision: ClassVar[str] = "Settled"

    review: Review
    letters: tuple[SettledLetter, ...]


@dataclass(frozen=True, slots=True)
class Ended:
    """The review is completed. `counts` are the numbers of its letters by outcome."""

    decision: ClassVar[str] = "Ended"

    review: Review
    counts: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """A user withdrew the review, None if it was deleted, which names no user."""

    decision: ClassVar[str] = "Withdrawn"

    review: Review
    withdrawn_by: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """The worker does not carry out the review. `reason` is in CamelCase."""

    decision: ClassVar[str] = "Refused"

    review: Review
    reason: str


@dataclass(frozen=True, slots=True)
class PayloadRead:
    """A user was shown the payload of a letter. The entry is written before."""

    decision: ClassVar[str] = "PayloadRead"

    policy: Ref
    letter: str
    digest: str
    user: str


@dataclass(frozen=True, slots=True)
class LogBegan:
    """First entry of a log. The log itself writes it."""

    decision: ClassVar[str] = "LogBegan"


OfAReview = Requested | Approved | Started | Settled | Ended | Withdrawn | Refused
Decision = OfAReview | PayloadRead
"""What others append."""
Written = Decision | LogBegan


def parts(decision: Written) -> Iterator[Written]:
    """Yield a decision in parts that fit into an entry each."""
    if not isinstance(decision, Settled) or len(decision.letters) <= MOST_LETTERS:
        yield decision
        return
    for begin in range(0, len(decision.letters), MOST_LETTERS):
        yield Settled(decision.review, decision.letters[begin : begin + MOST_LETTERS])


def document(decision: Written) -> dict[str, Any]:
    """Return the members of an entry about a decision, as JSON."""
    return {"decision": decision.decision, **_without_none(_members(decision))}


def _members(decision: Written) -> dict[str, Any]:
    match decision:
        case LogBegan():
            return {}
        case PayloadRead(policy, letter, digest, user):
            return {"policy": str(policy), "letter": letter, "digest": digest, "user": user}
        case _:
            about = _review(decision.review)
    match decision:
        case Requested(_, words, count, digest):
            return about | {"reason": words, "selection": {"count": count, "digest": digest}}
        case Approved(_, seen):
            return about | {"selection": None if seen is None else {"digest": seen}}
        case Started(_, count, digest, resumed):
            selection = {"count": count, "digest": digest}
            return about | {"selection": selection, "resumed": resumed or None}
        case Settled(_, letters):
            return about | {"letters": _letters(letters)}
        case Ended(_, counts):
            return about | {"counts": dict(counts)}
        case Withdrawn(_, withdrawn_by, given):
            return about | {"withdrawnBy": withdrawn_by, "reason": given}
        case Refused(_, code):
            return about | {"reason": code}


def _review(review: Review) -> dict[str, Any]:
    return {
        "policy": str(review.policy),
        "review": {"name": str(review.ref), "uid": review.uid, "action": review.action.value},
        "requestedBy": review.requested_by,
        "approvedBy": review.approved_by,
    }


def _letters(letters: Sequence[SettledLetter]) -> list[dict[str, Any]]:
    return [
        _without_none(
            {
                "id": each.id,
                "digest": each.digest,
                "outcome": each.outcome.value,
                "reason": each.reason,
            }
        )
        for each in letters
    ]


def _without_none(members: Mapping[str, Any]) -> dict[str, Any]:
    return {name: each for name, each in members.items() if each is not None}
