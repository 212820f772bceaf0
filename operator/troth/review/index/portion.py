"""What the index takes and returns, apart from letters."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from troth.resources.references import Ref
from troth.review.letters.letter import Letter, LetterState, Position
from troth.review.letters.records import Record

UNREADABLE: Final = "Unreadable"
"""State in the tallies of messages that are no valid dead letter."""


@dataclass(frozen=True, slots=True)
class Settlement:
    """Decision about a letter, as a record says it."""

    id: str
    state: LetterState
    review: Ref
    at: datetime
    uid: str | None = None
    """UID of the review."""


def settlements_of(record: Record) -> list[Settlement]:
    """Return the decisions that a record says."""
    return [
        Settlement(each.id, each.state, record.review, record.at, record.uid)
        for each in record.outcomes
    ]


@dataclass(frozen=True, slots=True)
class Portion:
    """Messages of a dead-letter topic that were read one after the other.

    `unreadable` are places of messages that are no valid dead letter. `next` is the offset after
    the last message by partition.
    """

    letters: Sequence[Letter] = ()
    settlements: Sequence[Settlement] = ()
    unreadable: Sequence[Position] = ()
    next: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Tally:
    """Number of letters of a policy with one state and reason; see `UNREADABLE`."""

    policy: Ref
    state: str
    reason: str
    count: int
