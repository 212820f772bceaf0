"""Order of test files: the longest first, or a random order of a given seed.

pytest-xdist keeps each file on one worker. A long file that starts last keeps one worker busy while
the others are idle.
"""

import json
import os
import random
from collections import defaultdict
from pathlib import Path

import pytest

HERE = Path(__file__).parent
RECORDED = HERE / "durations.json"
"""Seconds of each long file; `TEST_DURATIONS=record` updates them."""
LONG = 2.0

_seconds: defaultdict[str, float] = defaultdict(float)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order the files. The tests of a file stay together and in their order."""
    files = sorted({_file(item.nodeid) for item in items})
    if seed := os.environ.get("TEST_ORDER_SEED"):
        random.Random(seed).shuffle(files)
    else:
        recorded = _recorded()
        files.sort(key=lambda file: -recorded.get(file, 0.0))
    place = {file: index for index, file in enumerate(files)}
    items.sort(key=lambda item: place[_file(item.nodeid)])


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
