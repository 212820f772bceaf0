"""Results of the checks of a token or a webhook delivery, and how they are printed."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from rich.table import Table
from rich.text import Text

from troth.cli.quoting import quoted


class Outcome(StrEnum):
    """Outcome of a check."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_RUN = "untold"
    """An earlier check failed, and this one depends on it."""


_MARKS = {
    Outcome.PASSED: ("✓", "green"),
    Outcome.FAILED: ("✗", "red"),
    Outcome.NOT_RUN: ("·", "dim"),
}


@dataclass(frozen=True, slots=True)
class Check:
    """One check with its outcome and a sentence that explains it."""

    name: str
    outcome: Outcome
    sentence: str = ""
    code: str = ""
    """The problem code if it failed."""


def checks_table(checks: Iterable[Check], labels: Mapping[str, str] | None = None) -> Table:
    """Return a row for each check. `labels` replace names of checks."""
    table = Table.grid(padding=(0, 2))
    for _ in range(2):
        table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for check in checks:
        text = f"{check.code}: {check.sentence}" if check.code else check.sentence
        if check.outcome is Outcome.NOT_RUN:
            text = "not checked"
        label = (labels or {}).get(check.name, check.name)
        table.add_row(Text(*_MARKS[check.outcome]), label, Text(quoted(text)))
    return table


def facts_table(facts: Mapping[str, object]) -> Table:
    """Return a row for each name and value."""
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts.items():
        table.add_row(name, Text(quoted(value)))
    return table


def checks_document(checks: Iterable[Check]) -> list[dict[str, Any]]:
    """Return the checks as JSON."""
    return [
        {"name": check.name, "answer": check.outcome.value, "sentence": check.sentence}
        | ({"code": check.code} if check.code else {})
        for check in checks
    ]
