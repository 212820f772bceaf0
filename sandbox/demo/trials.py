"""The table of trials: who tries what, what must happen, and whether it does.

Every act of the demo is a table of trials. `run` carries a table out, and `screen` prints it.
"""

import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

PAUSE = 0.02
MOST_SHOWN = 10  # where everything is wrong nobody reads it all

Facts = Mapping[str, object]
"""What a trial observes, by name. An expected fact that is a pattern must match."""


class Observation(NamedTuple):
    """What happened: facts to judge by, the cells of the table's row, and a quote below it."""

    facts: Facts
    cells: tuple[str, ...]
    quote: str = ""


@dataclass(frozen=True, slots=True)
class Trial:
    """One attempt and the facts that must come of it.

    `within` is the time in seconds after which the facts must hold at the latest.
    """

    actor: str
    action: str
    expected: Facts
    attempt: Callable[[], Observation] = field(repr=False)
    within: float = 0


@dataclass(frozen=True, slots=True)
class Result:
    """A trial and what happened, `seconds` after the change that it follows, if there is one."""

    trial: Trial
    observation: Observation
    seconds: float = 0

    @property
    def fault(self) -> str:
        """What differs from the expectation; empty if nothing does."""
        expected, facts = self.trial.expected, self.observation.facts
        wrong = {name for name, each in expected.items() if not _holds(each, facts.get(name))}
        if wrong:
            seen = {name: fact for name, fact in facts.items() if name in wrong or fact}
            needed = {name: expected[name] for name in expected if name in wrong}
            return f"expected {_text(needed)}; observed {_text(seen)}"
        if self.is_late:
            return f"expected within {self.trial.within:.0f} s; took {self.seconds:.1f} s"
        return ""

    @property
    def is_late(self) -> bool:
        """Whether the facts hold, but too late."""
        return 0 < self.trial.within < self.seconds

    @property
    def is_wrong(self) -> bool:
        """Whether something else happened than must."""
        return bool(self.fault)


def run(trials: Iterable[Trial], since: float | None = None) -> list[Result]:
    """Carry out trials in order.

    `since` is when the change began that they follow, by `time.monotonic`.
    """
    return [_run(trial, since) for trial in trials]


def over(actor: str, action: str, observation: Observation, **expected: object) -> Result:
    """Return the result of a trial that is over already."""
    return Result(Trial(actor, action, expected, lambda: observation), observation)


def _run(trial: Trial, since: float | None) -> Result:
    began = time.monotonic() if since is None else since
    while True:
        observation = trial.attempt()
        seconds = time.monotonic() - began
        result = Result(trial, observation, 0 if since is None else seconds)
        if not result.is_wrong or seconds >= trial.within:
            return result
        time.sleep(PAUSE)


def summary(actor: str, results: list[Result]) -> list[Result]:
    """Return one row for many results of one kind, and a row for each of the first wrong ones."""
    wrong = [each for each in results if each.is_wrong]
    count = f"{len(wrong)} of {len(results)}" if wrong else f"{len(results)}"
    shown = (wrong or results)[0]
    row = replace(shown, trial=replace(shown.trial, actor=f"{actor} ({count})"))
    return [row, *wrong[:MOST_SHOWN]]


def _holds(expected: object, fact: object) -> bool:
    if isinstance(expected, re.Pattern):
        return isinstance(fact, str) and expected.search(fact) is not None
    return expected == fact


def _text(facts: Facts) -> str:
    values = {
        name: each.pattern if isinstance(each, re.Pattern) else each for name, each in facts.items()
    }
    return ", ".join(f"{name}: {each}" for name, each in values.items())
