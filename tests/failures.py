"""What failed, in the file that the environment variable `TEST_FAILURES` names.

`make test` runs pytest several times. It prints the file at its end, where the progress of the last
run does not hide the failures of the others.
"""

import os
from pathlib import Path

import pytest

MOST_LINES = 3
"""Maximum number of lines of each message."""


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Append a line for each failure, and the first lines of its message."""
    file = os.environ.get("TEST_FAILURES")
    if file is None or "PYTEST_XDIST_WORKER" in os.environ:
        return
    reports = [
        report for kind in ("failed", "error") for report in terminalreporter.getreports(kind)
    ]
    with Path(file).open("a") as failures:
        for report in reports:
            message = "\n    ".join(_message(report).splitlines()[:MOST_LINES])
            failures.write(f"failed: {report.nodeid}\n    {message}\n")


def _message(report: pytest.CollectReport | pytest.TestReport) -> str:
    crash = getattr(report.longrepr, "reprcrash", None)
    return crash.message if crash else report.longreprtext
