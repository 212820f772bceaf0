"""Troth's tokens, judged by go-spiffe, Nimbus, OpenSSL, PyJWT and joserfc.

Each judges the same table. All must accept Troth's tokens, and must reject what Troth rejects,
except for the attacks in `laxer`. That list is compared exactly, so that a change in a new version
of a judge, or of Troth, shows.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from tests.judges.laxer import LAXER
from tests.judges.programs import Judge, Verdict
from tests.judges.token_cases import Case
from tests.judges.token_judges import JUDGES, troth
from tests.judges.token_table import attacks, good
from tests.judges.token_world import bundles

EVERY_JUDGE = pytest.mark.parametrize("judge", JUDGES)


@dataclass(frozen=True)
class Table:
    """The cases, and the verdicts of each available judge."""

    cases: tuple[Case, ...]
    verdicts: Mapping[str, Mapping[str, Verdict]]
    absent: Mapping[str, str]

    def of(self, judge: str) -> Mapping[str, Verdict]:
        """Return the judge's verdicts by case, without cases that it cannot judge."""
        if judge in self.absent:
            pytest.skip(self.absent[judge])
        return self.verdicts[judge]

    def __str__(self) -> str:
        """Return the table as Markdown, with Troth's reasons; bold marks an accepted attack."""
        lines = [f"| token | Troth | {' | '.join(JUDGES)} |", "|---" * (len(JUDGES) + 2) + "|"]
        for case in self.cases:
            words = [self._word(judge, case) for judge in JUDGES]
            lines.append(f"| {case.name} | {case.reason or 'accepts'} | {' | '.join(words)} |")
        return "\n".join(lines)

    def _word(self, judge: str, case: Case) -> str:
        verdict = self.verdicts.get(judge, {}).get(case.name)
        if verdict is None:
            return "absent" if judge in self.absent else "-"
        accepts = "**accepts**" if case.reason else "accepts"
        return accepts if verdict.good else "refuses"


@pytest.fixture(scope="module")
def table() -> Table:
    published = bundles()
    judges: dict[str, Judge] = {"Troth": troth(published)}
    absent = {}
    for name, seat in JUDGES.items():
        try:
            judges[name] = seat.make(published)
        except pytest.skip.Exception as skipped:
            absent[name] = str(skipped.msg)
    now = int(time.time())  # after the builds
    cases = (*good(now), *attacks(now))

    def ask(name: str) -> dict[str, Verdict]:
        covers = JUDGES[name].covers if name in JUDGES else lambda _: True
        asked = [case for case in cases if not case.reason or covers(case)]
        return dict(zip((case.name for case in asked), judges[name](asked), strict=True))

    with ThreadPoolExecutor(len(judges)) as threads:
        made = Table(cases, dict(zip(judges, threads.map(ask, judges), strict=True)), absent)
    print(made)  # noqa: T201 - for users: `pytest -s` shows it, and so does a failure
    return made


def test_case_names_are_unique(table: Table) -> None:
    assert len({case.name for case in table.cases}) == len(table.cases)


def test_troth_accepts_its_tokens_and_rejects_each_attack_with_its_reason(table: Table) -> None:
    said = {
        name: "" if verdict.good else verdict.says for name, verdict in table.of("Troth").items()
    }
    assert said == {case.name: case.reason for case in table.cases}


@EVERY_JUDGE
def test_every_judge_accepts_troths_tokens(table: Table, judge: str) -> None:
    verdicts, troths = table.of(judge), table.of("Troth")
    for case in table.cases:
        if not case.reason:
            assert verdicts[case.name] == troths[case.name], case.name


@EVERY_JUDGE
def test_every_judge_rejects_the_attacks_except_for_the_listed_ones(
    table: Table, judge: str
) -> None:
    verdicts = table.of(judge)
    attacks_asked = (case.name for case in table.cases if case.reason and case.name in verdicts)
    assert {name for name in attacks_asked if verdicts[name].good} == LAXER[judge]
