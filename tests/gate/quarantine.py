"""Tests that were flaky twice: outside of the gate for at most 14 days.

`tests/quarantine.toml` has one table for each test: `["tests/x/test_y.py::test_z"]` with `since`,
`until` and `cause`. This is also the plugin with the option `--without-quarantined`.
"""

import tomllib
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import pytest

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


def is_in(test: str, quarantined: str) -> bool:
    """Return whether a test is one in quarantine, or one of its parametrized cases."""
    return test == quarantined or test.startswith(f"{quarantined}[")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option `--without-quarantined`."""
    parser.addoption(
        "--without-quarantined", action="store_true", help="leave out tests in quarantine"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out tests in quarantine. pytest's own `--deselect` also takes longer names."""
    if not config.getoption("--without-quarantined"):
        return
    names = [entry.test for entry in entries()]
    left = [item for item in items if any(is_in(item.nodeid, name) for name in names)]
    if left:
        config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if item not in left]
