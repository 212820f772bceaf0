"""Reports each failure when it happens, and records the outcome of a pytest run.

The environment variable `TEST_RECORD` names the file of the record. A run that is killed writes no
record, but has printed its failures.
"""

import json
import os
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pytest

VARIABLE = "TEST_RECORD"
FAILURES = "failures.txt"
"""File beside the record with one line for each failure, written when it happens."""
MAX_LINE = 160


@dataclass(slots=True)
class Record:
    """Outcome of one pytest run."""

    collected: int = 0
    passed: int = 0
    skipped: int = 0
    failures: dict[str, str] = field(default_factory=dict)
    """First traceback of each test that failed, by the ID of the test."""
    uncollected: list[str] = field(default_factory=list)
    """Files that could not be collected."""
    unfinished: list[str] = field(default_factory=list)
    """Tests that were collected and have no outcome, because the run ended early."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Seconds that workers spent on the tests of each folder."""

    @classmethod
    def read(cls, file: Path) -> "Record | None":
        """Return a record; None if the run wrote none."""
        return cls(**json.loads(file.read_text())) if file.exists() else None


def pytest_configure(config: pytest.Config) -> None:
    """Record the run, in the process that receives all reports."""
    if os.environ.get(VARIABLE) and not hasattr(config, "workerinput"):
        config.pluginmanager.register(_Recorder(config, Path(os.environ[VARIABLE])))


class _Recorder:
    def __init__(self, config: pytest.Config, file: Path) -> None:
        self._config = config
        self._file = file
        self._collected: set[str] = set()
        self._uncollected: set[str] = set()
        self._outcomes: dict[str, str] = {}
        self._tracebacks: dict[str, str] = {}
        self._seconds: defaultdict[str, float] = defaultdict(float)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self._collected.update(item.nodeid for item in session.items)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: Sequence[str]) -> None:
        self._collected.update(ids)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed and report.nodeid not in self._uncollected:  # each worker collects
            self._uncollected.add(report.nodeid)
            self._say(report)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._seconds[_folder(report.nodeid)] += report.duration
        if report.failed:
            self._outcomes[report.nodeid] = "failed"
            self._tracebacks.setdefault(report.nodeid, report.longreprtext)
            self._say(report)
        elif report.skipped or report.when == "call":
            self._outcomes.setdefault(report.nodeid, report.outcome)

    def pytest_sessionfinish(self) -> None:
        counts = Counter(self._outcomes.values())
        record = Record(
            len(self._collected),
            counts["passed"],
            counts["skipped"],
            self._tracebacks,
            sorted(self._uncollected),
            sorted(self._collected - self._outcomes.keys()),
            {folder: round(taken, 1) for folder, taken in sorted(self._seconds.items())},
        )
        self._file.write_text(json.dumps(asdict(record), indent=1))

    def _say(self, report: pytest.CollectReport | pytest.TestReport) -> None:
        line = f"FAILED {report.nodeid}: {first_line(report.longreprtext)}"
        terminal: Any = self._config.pluginmanager.get_plugin("terminalreporter")
        if terminal:
            terminal.ensure_newline()
            terminal.write_line(line, flush=True)
        with (self._file.parent / FAILURES).open("a") as failures:
            failures.write(f"{line}\n")


def first_line(traceback: str) -> str:
    """Return the first line of the error that a traceback ends with, cut to `MAX_LINE`."""
    errors = [line[1:].strip() for line in traceback.splitlines() if line.startswith("E ")]
    lines = errors[:1] or traceback.strip().splitlines()[-1:] or ["no traceback"]
    return lines[0][:MAX_LINE]


def _folder(nodeid: str) -> str:
    return "/".join(nodeid.partition("::")[0].split("/")[:2])
