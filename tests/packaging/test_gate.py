"""The gate fails for a faulty test, and names a flaky one."""

import json
import sys
from datetime import date
from pathlib import Path

import pytest

from tests.gate import quarantine, running, summary
from tests.gate.parts import Part, Tier, parts_of
from tests.gate.record import FAILURES
from tests.gate.running import Outcome, run
from tests.gate.sizes import ROOT

PASSING = "def test_passes(): pass\n"
FAULTY = "def test_fails(): assert 1 == 2\n"
FLAKY = """
import pathlib
def test_fails_once(tmp_path_factory):
    tried = pathlib.Path(__file__).with_suffix(".tried")
    if not tried.exists():
        tried.touch()
        raise RuntimeError("the first time")
"""
POLLUTED = """
import builtins
def test_pollutes(): builtins.polluted = True
def test_fails_after_it(): assert not hasattr(builtins, "polluted")
"""
ERROR = """
import pytest
@pytest.fixture
def broken():
    yield
    raise OSError("at its end")
def test_passes_until_its_end(broken): pass
"""
LEAVING = """
import threading
def test_leaves_a_thread():
    threading.Thread(target=threading.Event().wait, name="left", daemon=True).start()
def test_after_it(): pass
"""
SEEDED = """
import random
import pytest
@pytest.mark.parametrize("number", range(2))
def test_draws(number): print("drew", random.random())
"""


@pytest.fixture(autouse=True)
def busy_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "QUIET_SECONDS", 0.0)


def tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *options: str, **files: str) -> Outcome:
    """Run the gate on test files of these contents."""
    for name, text in files.items():
        (tmp_path / f"test_{name}.py").write_text(text)
    (tmp_path / "pytest.ini").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv(
        "PYTEST_ADDOPTS", "-p tests.gate.record -p tests.gate.isolation -p no:asyncio"
    )
    command = (sys.executable, "-m", "pytest", "-q", *options)
    return run((Part("toy", command, 2, is_pytest=True),), tmp_path / "reports", 4)


SPREAD = pytest.mark.parametrize("workers", ["-n0", "-n2"])


@SPREAD
def test_run_without_failures_passes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: str
) -> None:
    outcome = tried(tmp_path, monkeypatch, workers, one=PASSING, two=PASSING)
    assert (outcome.passed, outcome.errors, outcome.failures, outcome.flaky) == (2, [], {}, {})
    assert outcome.exit_code(strict=True) == 0


@SPREAD
def test_faulty_test_fails_twice_and_fails_the_gate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: str
) -> None:
    outcome = tried(tmp_path, monkeypatch, workers, one=PASSING, two=FAULTY)
    assert list(outcome.failures) == ["test_two.py::test_fails"]
    assert outcome.exit_code(strict=False) == 1
    assert [each.name for each in outcome.results] == ["toy", "retry"]
    lines = (tmp_path / "reports" / FAILURES).read_text().splitlines()
    assert lines == ["FAILED test_two.py::test_fails: assert 1 == 2"] * 2


@SPREAD
def test_flaky_test_passes_the_gate_by_name_and_fails_a_strict_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: str
) -> None:
    outcome = tried(tmp_path, monkeypatch, workers, one=PASSING, two=FLAKY)
    assert "the first time" in outcome.flaky["test_two.py::test_fails_once"]
    assert outcome.failures == {}
    assert (outcome.exit_code(strict=False), outcome.exit_code(strict=True)) == (0, 1)
    found = summary.summary(Tier.GATE, outcome)
    lines = summary.closing_lines(json.loads(json.dumps(found)))
    assert "FLAKY test_two.py::test_fails_once: RuntimeError: the first time" in lines
    assert lines[-1] == "1 passed, 0 failed, 0 skipped"


def test_recorded_run_names_flaky_tests_and_no_local_path(tmp_path: Path) -> None:
    text = "tmp_path = PosixPath('/tmp/here')\n>   assert 1 == 2\nE   assert 1 == 2\n"
    found = {"commit": "HEAD", "date": "2026-12-03", "passed": 1, "failed": 0, "failures": {}}
    kept = tmp_path / "kept.json"
    summary.record_whole_run({**found, "flaky": {"test_a.py::test_b": text}}, kept)
    assert json.loads(kept.read_text())["flaky"] == {"test_a.py::test_b": "assert 1 == 2"}
    assert summary.age_of_last_whole_run(kept)[1:] == ["  flaky test_a.py::test_b"]


def test_failure_is_tried_again_without_the_tests_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome = tried(tmp_path, monkeypatch, "-n0", one=POLLUTED)
    assert list(outcome.flaky) == ["test_one.py::test_fails_after_it"]


def test_error_after_a_test_fails_the_gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outcome = tried(tmp_path, monkeypatch, "-n0", one=ERROR)
    assert list(outcome.failures) == ["test_one.py::test_passes_until_its_end"]


def test_thread_fails_the_test_that_leaves_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = "import tests.gate.isolation\ntests.gate.isolation.PATIENCE = 0.1\n"
    outcome = tried(tmp_path, monkeypatch, "-n0", one=seconds + LEAVING)
    (error,) = outcome.failures.values()
    assert "the test left the thread 'left' running" in error


def test_random_numbers_of_a_test_are_the_same_in_each_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        tried(tmp_path, monkeypatch, "-n0", "-s", one=SEEDED)
    drawn = [line for line in capfd.readouterr().out.splitlines() if "drew" in line]
    assert len(drawn) == 4
    assert len(set(drawn)) == 2


def test_many_failures_are_not_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {f"n{number}": FLAKY for number in range(running.MAX_FILES + 1)}
    outcome = tried(tmp_path, monkeypatch, "-n0", **files)
    assert len(outcome.failures) == len(files)
    assert outcome.exit_code(strict=False) == 1


KILLED = """
import os
def test_kills(): os.kill({process}, 9)
"""
ENDED_EARLY = f"def test_fails_at_once(): assert False\n{FLAKY}"


@pytest.mark.parametrize(
    ("text", "options", "error"),
    [
        ("raise OSError\n", ("-n0",), "pytest could not collect test_one.py"),
        ("raise OSError\n", ("-n2",), "pytest could not collect test_one.py"),
        (PASSING, ("--no-such-option",), "pytest ended with exit code 4"),
        (ENDED_EARLY, ("-x",), "1 tests did not run, such as test_one.py::test_fails_once"),
    ],
    ids=["import", "import by workers", "usage", "ended early"],
)
def test_incomplete_run_fails_the_gate(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    text: str,
    options: tuple[str, ...],
    error: str,
) -> None:
    outcome = tried(tmp_path, monkeypatch, *options, one=text)
    assert outcome.errors == [f"toy: {error}"]
    assert outcome.exit_code(strict=False) == 1


@pytest.mark.parametrize(("workers", "process"), [("-n0", "os.getpid()"), ("-n2", "os.getppid()")])
def test_killed_run_fails_the_gate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: str, process: str
) -> None:
    outcome = tried(tmp_path, monkeypatch, workers, one=KILLED.format(process=process))
    assert outcome.errors == ["toy: pytest ended with exit code -9"]


def test_run_without_a_test_fails_the_gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if another part has tests: a typo in its options could leave it without any."""
    errors = tried(tmp_path, monkeypatch, "-n0", one="").errors
    assert errors == ["toy: no test ran, and pytest ended with exit code 5"]


def test_failure_is_tried_again_with_the_environment_of_its_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise an example that only the random profile draws would count as flaky."""
    (tmp_path / "test_one.py").write_text(
        'import os\ndef test_fails(): assert not os.getenv("ONLY_HERE")\n'
    )
    (tmp_path / "pytest.ini").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("PYTEST_ADDOPTS", "-p tests.gate.record -p no:asyncio")
    part = Part("toy", (sys.executable, "-m", "pytest"), 2, {"ONLY_HERE": "1"}, is_pytest=True)
    outcome = run((part,), tmp_path / "reports", 4)
    assert (list(outcome.failures), outcome.flaky) == (["test_one.py::test_fails"], {})


def test_time_limit_fails_the_part_and_ends_its_processes(tmp_path: Path) -> None:
    part = Part("slow", (sys.executable, "-c", "import time; time.sleep(100)"), 1)
    outcome = run((part,), tmp_path, 0.02)
    assert outcome.errors == ["slow: reached its time limit"]


def test_nothing_runs_after_a_check_that_failed(tmp_path: Path) -> None:
    check = Part("check", ("false",), 1, is_required=True)
    outcome = run((check, Part("tests", ("true",), 1)), tmp_path, 1)
    assert outcome.errors == ["check: exit code 1"]
    assert len(outcome.results) == 1


def test_choice_of_folders_runs_only_the_parts_that_it_needs() -> None:
    names = [part.name for part in parts_of(Tier.GATE)]
    assert names == ["check", "small", "build", "medium"]
    names = [part.name for part in parts_of(Tier.GATE, ("edge",))]
    assert names == ["check", "small"]
    with pytest.raises(ValueError, match="tests/nothing does not exist"):
        parts_of(Tier.GATE, ("nothing",))
    with pytest.raises(ValueError, match="no test in truth has a size that this runs"):
        parts_of(Tier.GATE, ("truth",))
    assert [part.name for part in parts_of(Tier.ALL)] == [
        *("check", "small", "build", "servers", "alone")
    ]


@pytest.mark.parametrize(
    ("test", "is_quarantined"),
    [("t.py::test_a", True), ("t.py::test_a[x]", True), ("t.py::test_ab", False)],
)
def test_quarantine_of_a_test_leaves_longer_names(test: str, *, is_quarantined: bool) -> None:
    assert quarantine.is_in(test, "t.py::test_a") is is_quarantined


@pytest.mark.parametrize(
    ("until", "cause", "is_valid"),
    [("2026-12-15", "a race", True), ("2026-12-16", "a race", False), ("2026-12-15", "", False)],
)
def test_quarantine_ends_within_14_days_and_has_a_cause(
    tmp_path: Path, until: str, cause: str, *, is_valid: bool
) -> None:
    file = tmp_path / "quarantine.toml"
    file.write_text(f'["t.py::test"]\nsince = 2026-12-01\nuntil = {until}\ncause = "{cause}"\n')
    if not is_valid:
        with pytest.raises(ValueError, match="needs a cause, and an end within 14 days"):
            quarantine.entries(file)
        return
    assert quarantine.overdue(date(2026, 12, 15), file) == []
    assert "its quarantine ended" in quarantine.overdue(date(2026, 12, 16), file)[0]
