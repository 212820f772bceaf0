"""Tests that were flaky twice: outside of the gate for at most 14 days.

`tests/quarantine.toml` has one table for each test: `["tests/x/test_y.py::test_z"]` with `since`,
`until` and `cause`.
"""

import tomllib
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

from tests.gate.sizes import ROOT

FILE = ROOT / "tests" / "quarantine.toml"
LONGEST = timedelta(days=14)


@dataclass(frozen=True, slots=True)
class Entry:
    """A test in quarantine."""

    test: str
    since: date
    until: date
    cause: str


def entries(file: Path = FILE) -> list[Entry]:
    """Return the tests in quarantine. Raises `ValueError` for an entry that is not valid."""
    found = [Entry(test, **table) for test, table in tomllib.loads(file.read_text()).items()]
    for each in found:
        if not each.cause or not each.since <= each.until <= each.since + LONGEST:
            raise ValueError(f"{each.test}: needs a cause, and an end within {LONGEST.days} days")
    return found


def overdue(today: date, file: Path = FILE) -> list[str]:
    """Return a line for each test that has been in quarantine for too long."""
    return [
        f"{each.test}: its quarantine ended on {each.until}; fix it or delete it ({each.cause})"
        for each in entries(file)
        if each.until < today
    ]
