"""Order of test files: the longest first, or a random order of a given seed.

pytest-xdist keeps each file on one worker. A long file that starts last keeps one worker busy while
the others are idle. All files that use the shared Kafka stay on one worker together: a Kafka that
does nothing takes a third of a core, and each worker that uses it keeps one until its end.
"""

import json
import os
import random
from collections import defaultdict
from functools import cache
from pathlib import Path

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

HERE = Path(__file__).parent
RECORDED = HERE / "durations.json"
"""Seconds of each long file; `TEST_DURATIONS=record` updates them."""
LONG = 2.0
KAFKA = "kafka_server"
"""Fixture of the shared Kafka."""

_seconds: defaultdict[str, float] = defaultdict(float)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order the files. The tests of a file stay together and in their order."""
    files = sorted({_file(item.nodeid) for item in items})
    if seed := os.environ.get("TEST_ORDER_SEED"):
        random.Random(seed).shuffle(files)
    else:
        seconds: defaultdict[str, float] = defaultdict(float)
        for file, taken in _recorded().items():
            seconds[_scope(file)] += taken
        files.sort(key=lambda file: (-seconds[_scope(file)], file))
    place = {file: index for index, file in enumerate(files)}
    items.sort(key=lambda item: place[_file(item.nodeid)])


@pytest.hookimpl(tryfirst=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadFileScheduling | None:
    """Keep scopes on one worker instead of files."""
    return _ScopeScheduling(config, log) if config.getoption("dist") == "loadfile" else None


class _ScopeScheduling(LoadFileScheduling):
    def _split_scope(self, nodeid: str) -> str:
        return _scope(_file(nodeid))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    _seconds[_file(report.nodeid)] += report.duration


def pytest_sessionfinish() -> None:
    """Record the durations of files, in the process that receives all reports."""
    if os.environ.get("TEST_DURATIONS") != "record" or "PYTEST_XDIST_WORKER" in os.environ:
        return
    known = _recorded() | {file: round(seconds) for file, seconds in _seconds.items()}
    long = {
        file: seconds
        for file, seconds in sorted(known.items())
        if seconds >= LONG and Path(HERE.parent, file).exists()
    }
    RECORDED.write_text(f"{json.dumps(long, indent=2)}\n")


def _recorded() -> dict[str, float]:
    found: dict[str, float] = json.loads(RECORDED.read_text())
    return found


def _file(nodeid: str) -> str:
    return nodeid.partition("::")[0]


@cache
def _scope(file: str) -> str:
    """Return what stays on one worker: a file, or all files with the shared Kafka."""
    path = HERE.parent / file
    sources = (path, path.with_name("conftest.py"))
    return KAFKA if any(KAFKA in each.read_text() for each in sources if each.exists()) else file
