"""Progress of one review: the numbers of its letters by outcome, and the first of its letters."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from troth.resources.reviews.dead_letter_review_status import (
    MOST_LISTED,
    LetterOutcome,
    LetterStatus,
    OutcomeCounts,
)
from troth.review.letters.records import RecordedOutcome


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was done with a letter."""

    id: str
    digest: str
    outcome: LetterOutcome
    reason: str | None = None

    def recorded(self) -> RecordedOutcome:
        """Return it as a part of a record."""
        return RecordedOutcome(self.id, self.digest, self.outcome, self.reason)


class Progress:
    """Outcomes of a review so far."""

    def __init__(self, repeated: int = 0) -> None:
        """`repeated` letters were perhaps delivered twice by an earlier process."""
        self._counts: Counter[LetterOutcome] = Counter()
        self._letters: list[LetterStatus] = []
        self.repeated = repeated

    @property
    def total(self) -> int:
        """Number of letters that have an outcome."""
        return self._counts.total()

    def add(self, outcomes: Iterable[Outcome]) -> None:
        """Count outcomes, each of another letter."""
        for each in outcomes:
            self._counts[each.outcome] += 1
            if len(self._letters) < MOST_LISTED:
                listed = LetterStatus(
                    id=each.id, digest=each.digest, outcome=each.outcome, reason=each.reason
                )
                self._letters.append(listed)

    def counts(self) -> OutcomeCounts:
        """Return the numbers for the status."""
        return OutcomeCounts(**self.numbers())

    def numbers(self) -> Mapping[str, int]:
        """Return the numbers by their names in the status."""
        by_name = {each.value.lower(): self._counts[each] for each in LetterOutcome}
        return by_name | {"repeated": self.repeated}

    def letters(self) -> tuple[LetterStatus, ...]:
        """Return the first letters, for the status."""
        return tuple(self._letters)
