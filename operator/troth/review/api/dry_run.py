"""What a review would do now: how many letters it selects, their digest, and their outcomes."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from troth.resources.reviews.dead_letter_review import ReviewAction
from troth.resources.reviews.dead_letter_review_status import LetterOutcome
from troth.review.api.source import Examination
from troth.review.letters.digest import digest_of_selection
from troth.review.letters.letter import Letter

EXAMINED = 1000
"""Maximum number of letters whose outcome is found out."""
SAMPLE = 20
"""Maximum number of letters that an answer shows."""
AT_ONCE = 100
"""Maximum number of letters in a batch."""
BYTES_AT_ONCE = 16 * 1024 * 1024
"""Maximum size of the data of a batch, whose messages are in memory together."""

Outcomes = tuple[tuple[tuple[LetterOutcome, str | None], int], ...]


@dataclass(frozen=True, slots=True)
class Selected:
    """Letters that a review would select: their number and digest, and the first of them."""

    count: int
    digest: str
    first: tuple[Letter, ...]


@dataclass(frozen=True, slots=True)
class DryRunResult:
    """Result of a dry run. `outcomes` are those of the first `examined` letters."""

    count: int
    digest: str
    until: datetime
    examined: int
    outcomes: Outcomes
    sample: tuple[Letter, ...]


def select(letters: Iterable[Letter]) -> Selected:
    """Count letters and compute their digest, without holding more than the first."""
    first: list[Letter] = []
    count = 0

    def passed() -> Iterable[tuple[str, str]]:
        nonlocal count
        for letter in letters:
            if count < EXAMINED:
                first.append(letter)
            count += 1
            yield letter.id, letter.digest

    digest = digest_of_selection(passed())
    return Selected(count, digest, tuple(first))


async def outcomes(
    action: ReviewAction,
    letters: Iterable[Letter],
    examine: Callable[[Sequence[Letter]], Awaitable[Sequence[Examination]]],
    seconds: float,
) -> tuple[int, Outcomes]:
    """Return how many letters were examined within a time, and the numbers of their outcomes.

    Discard and Quarantine have one outcome. Raises what `examine` raises.
    """
    found: Counter[tuple[LetterOutcome, str | None]] = Counter()
    waiting = list(letters)
    if action is not ReviewAction.REDRIVE:
        outcome = _OUTCOMES[action]
        return len(waiting), (((outcome, None), len(waiting)),) if waiting else ()
    try:
        async with asyncio.timeout(seconds):
            for batch in _batches(waiting):
                for each in await examine(batch):
                    found[each.redrive.outcome, each.redrive.reason] += 1
    except TimeoutError:
        pass  # the answer says how many were examined
    return found.total(), tuple(found.most_common())


def _batches(letters: Iterable[Letter]) -> Iterator[Sequence[Letter]]:
    """Yield letters in batches. A letter that is larger than a batch has one of its own."""
    batch: list[Letter] = []
    size = 0
    for letter in letters:
        if batch and (len(batch) == AT_ONCE or size + letter.size > BYTES_AT_ONCE):
            yield batch
            batch, size = [], 0
        batch.append(letter)
        size += letter.size
    if batch:
        yield batch


_OUTCOMES = {
    ReviewAction.DISCARD: LetterOutcome.DISCARDED,
    ReviewAction.QUARANTINE: LetterOutcome.QUARANTINED,
}
