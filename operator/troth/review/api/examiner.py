"""Examines letters: reads them at their brokers, and judges each as a redrive would now."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from troth.edge.events.consumption.dead_letters import DeadLetter
from troth.edge.events.opening import CHECKS
from troth.edge.events.rejection import RejectedError, Rejection
from troth.resources.references import Ref
from troth.resources.reviews.dead_letter_review_status import LetterOutcome
from troth.review.api.source import CheckResult, Examination, Forecast, Index, Verdict
from troth.review.brokers import BrokerUnavailableError, Stored
from troth.review.letters.judgement import GONE, SETTLED_BEFORE, Judge, Obstacle
from troth.review.letters.letter import Letter, LetterState, Position

LETTER = "letter"
"""Check of the dead letter itself; the others are about its original message."""

_IN_ORDER = (LETTER, "message", "parts", "consumer", "limit", *CHECKS, "retry")
_OPEN = frozenset({LetterState.PENDING, LetterState.QUARANTINED})


class Originals(Protocol):
    """Reads whole dead letters; see `letters.reading.LetterReader`."""

    def original(self, stored: Stored) -> DeadLetter | Rejection:
        """Return a dead letter with its message; a rejection, or `RejectedError`, if invalid."""


Fetch = Callable[[Sequence[Letter]], Awaitable[Mapping[Position, Stored]]]
"""Returns what the broker still has of letters; raises `BrokerUnavailableError`."""


@dataclass(frozen=True, slots=True)
class Reviewed:
    """What examines the letters of one policy."""

    fetch: Fetch
    originals: Originals
    judge: Judge


class BrokerSource:
    """Letters of the policies that the worker reviews."""

    def __init__(
        self,
        index: Index,
        served: Callable[[], Collection[Ref]],
        reviewed: Callable[[], Mapping[Ref, Reviewed]],
    ) -> None:
        """`served` returns the policies of the worker, and `reviewed` those that are indexed."""
        self._index = index
        self._served = served
        self._reviewed = reviewed

    @property
    def index(self) -> Index:
        """Index of all letters."""
        return self._index

    def serves(self, policy: Ref) -> bool:
        """Return whether the worker reviews the dead letters of a policy now."""
        return policy in self._served()

    def indexed(self, policy: Ref) -> bool:
        """Return whether the index has all letters that a policy had when the worker started."""
        return policy in self._reviewed()

    async def examine(self, letters: Sequence[Letter]) -> Sequence[Examination]:
        """Read letters of one policy at its broker, and check their originals.

        Raises `BrokerUnavailableError`, and `IdentityError` if this workload has no usable files.
        """
        if not letters:
            return ()
        reviewed = self._reviewed().get(letters[0].policy)
        if reviewed is None:
            raise BrokerUnavailableError(f"the TopicPolicy {letters[0].policy} is not reviewed")
        stored = await reviewed.fetch(letters)
        return await asyncio.to_thread(
            lambda: [_examined(reviewed, each, stored.get(each.position)) for each in letters]
        )


def _examined(reviewed: Reviewed, letter: Letter, stored: Stored | None) -> Examination:
    if stored is None:
        return _unread(letter, GONE, "the broker no longer has the letter")
    try:
        found = reviewed.originals.original(stored)
        if isinstance(found, Rejection):
            return _unread(letter, str(found.reason), found.detail)
        checks = reviewed.judge.explain(letter, found)
    except RejectedError as error:
        return _unread(letter, str(error.rejection.reason), error.rejection.detail)
    obstacles = {each.name: each.obstacle for each in checks}
    first = next((each.obstacle for each in checks if each.obstacle is not None), None)
    results = [CheckResult(LETTER, Verdict.PASSED)]
    results += [_result(name, obstacles) for name in _IN_ORDER[1:]]
    return Examination(found, tuple(results), _forecast(letter, first))


def _result(name: str, obstacles: Mapping[str, Obstacle | None]) -> CheckResult:
    if name not in obstacles:
        return CheckResult(name, Verdict.NOT_RUN)
    obstacle = obstacles[name]
    if obstacle is None:
        return CheckResult(name, Verdict.PASSED)
    return CheckResult(name, Verdict.FAILED, obstacle.reason, obstacle.detail)


def _forecast(letter: Letter, obstacle: Obstacle | None) -> Forecast:
    if letter.state not in _OPEN:
        by = f" by {letter.review}" if letter.review is not None else ""
        detail = f"the letter is {letter.state.value.lower()}{by}"
        return Forecast(LetterOutcome.SKIPPED, SETTLED_BEFORE, detail)
    if obstacle is None:
        return Forecast(LetterOutcome.REDRIVEN)
    return Forecast(obstacle.outcome, obstacle.reason, obstacle.detail)


def _unread(letter: Letter, reason: str, detail: str) -> Examination:
    """Return the examination of a letter that cannot be read."""
    failed = CheckResult(LETTER, Verdict.FAILED, reason, detail)
    others = (CheckResult(name, Verdict.NOT_RUN) for name in _IN_ORDER[1:])
    obstacle = Obstacle(LetterOutcome.SKIPPED, reason, detail)
    return Examination(None, (failed, *others), _forecast(letter, obstacle))
