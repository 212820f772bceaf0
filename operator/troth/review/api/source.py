"""What the list API needs of the worker: its index, and what it finds out about one letter."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from troth.edge.events.consumption.dead_letters import DeadLetter
from troth.resources.messaging.topic_policy_status import DeadLetterCounts
from troth.resources.references import Ref
from troth.resources.reviews.dead_letter_review import Letters
from troth.resources.reviews.dead_letter_review_status import LetterOutcome
from troth.review.letters.letter import Letter, LetterState, Position


class Verdict(StrEnum):
    """Verdict of one check."""

    PASSED = "Passed"
    FAILED = "Failed"
    NOT_RUN = "NotRun"
    """An earlier check failed, and this one depends on it."""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One check of a letter's original message. `reason` and `detail` say why it failed."""

    name: str
    verdict: Verdict
    reason: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a redrive of a letter would do now, with the reason if it is not `Redriven`."""

    outcome: LetterOutcome
    reason: str | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Examination:
    """A letter as its broker has it now, and every check of its original message.

    `dead_letter` is None if the broker no longer has it, or if it is not valid any more.
    """

    dead_letter: DeadLetter | None
    checks: tuple[CheckResult, ...]
    redrive: Forecast


class Index(Protocol):
    """Index of dead letters; see `index.store.LetterIndex`. Its methods block."""

    def get(self, policy: Ref, id: str) -> Letter | None:  # noqa: A002 - the field's name
        """Return a letter in any state, None if the index does not have it."""

    def select(
        self,
        policy: Ref,
        select: Letters,
        until: datetime,
        *,
        quarantined: bool = False,
        after: Position | None = None,
        states: Collection[LetterState] = (),
    ) -> Iterator[Letter]:
        """Yield pending letters in the order of their places, or those in `states`.

        With `quarantined`, also quarantined ones.
        """

    def counts(self, policy: Ref) -> DeadLetterCounts:
        """Return the numbers of letters that await a decision."""


class Source(Protocol):
    """Dead letters of the policies that the worker reviews."""

    @property
    def index(self) -> Index:
        """Index of all letters."""

    def serves(self, policy: Ref) -> bool:
        """Return whether the worker reviews the dead letters of a policy now."""

    def indexed(self, policy: Ref) -> bool:
        """Return whether the index has all letters that a policy had when the worker started."""

    async def examine(self, letters: Sequence[Letter]) -> Sequence[Examination]:
        """Read letters of one policy at its broker, and check each as a redrive would now.

        Raises `BrokerUnavailableError` and `IdentityError`.
        """
