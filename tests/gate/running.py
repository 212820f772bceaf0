"""Runs the parts of a tier, and tries each failed test again, alone, on a quiet machine."""

import os
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.gate.parts import Part, pytest_command
from tests.gate.record import FAILURES, VARIABLE, Record

PASSED, FAILED = 0, 1  # exit codes of pytest
MAX_FILES, MAX_TESTS = 5, 20
"""More failures than these are not tried again: they are a fault and not a coincidence."""
RETRY_MINUTES = 15
QUIET_LOAD, QUIET_SECONDS = 1.0, 90.0
END_SECONDS = 30.0


@dataclass(slots=True)
class Result:
    """Outcome of one part."""

    name: str
    seconds: float
    error: str = ""
    """Why the part failed, apart from its tests."""
    environment: dict[str, str] = field(default_factory=dict)
    """Environment of the part, with which its failures are tried again."""
    record: Record = field(default_factory=Record)


@dataclass(slots=True)
class Outcome:
    """Outcome of a run."""

    results: list[Result] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)
    """First traceback of each test that failed and did not pass alone, by its ID."""
    flaky: dict[str, str] = field(default_factory=dict)
    """First traceback of each test that failed and passed alone, by its ID."""

    @property
    def errors(self) -> list[str]:
        """Failures that are not those of tests."""
        return [f"{each.name}: {each.error}" for each in self.results if each.error]

    @property
    def passed(self) -> int:
        """Number of tests that passed, without flaky ones."""
        return sum(each.record.passed for each in self.results)

    @property
    def skipped(self) -> int:
        """Number of tests that were skipped."""
        return sum(each.record.skipped for each in self.results)

    def exit_code(self, *, strict: bool) -> int:
        """Return 0 or 1. A flaky test fails a strict run only."""
        return int(bool(self.errors or self.failures or (strict and self.flaky)))


def run(parts: tuple[Part, ...], reports: Path, minutes: float) -> Outcome:
    """Run parts one after the other, and write their records to a directory."""
    reports.mkdir(parents=True, exist_ok=True)
    for stale in (*reports.glob("*.json"), reports / FAILURES):
        stale.unlink(missing_ok=True)
    end = time.monotonic() + minutes * 60
    outcome = Outcome()
    for part in parts:
        print(f"== {part.name}", flush=True)
        result = _part(part, reports, end)
        outcome.results.append(result)
        print(f"== {part.name}: {_minutes(result.seconds)}", flush=True)
        if result.error and part.is_required:
            break
    _try_again(outcome, reports, end)
    return outcome


def _part(part: Part, reports: Path, end: float) -> Result:
    file = reports / f"{part.name}.json"
    began = time.monotonic()
    code = _call(part.command, part.environment | {VARIABLE: str(file)}, part.minutes * 60, end)
    result = Result(part.name, time.monotonic() - began, environment=part.environment)
    if code is None:
        result.error = "reached its time limit"
    elif not part.is_pytest:
        result.error = f"exit code {code}" if code else ""
    else:
        record = Record.read(file)
        result.record = record or Record()
        result.error = _incomplete(code, record)
    return result


def _incomplete(code: int, record: Record | None) -> str:
    """Return why a run of pytest does not say that every test but the failed ones passed."""
    if record is not None and record.uncollected:
        return f"pytest could not collect {', '.join(record.uncollected)}"
    if record is not None and record.collected == 0:
        return f"no test ran, and pytest ended with exit code {code}"
    if code not in {PASSED, FAILED}:
        return f"pytest ended with exit code {code}"
    if record is None:
        return "pytest wrote no record"
    if record.unfinished:
        return f"{len(record.unfinished)} tests did not run, such as {record.unfinished[0]}"
    if code == FAILED and not record.failures:
        return "pytest failed without a failed test"
    return ""


def _try_again(outcome: Outcome, reports: Path, end: float) -> None:
    """Run each failed test alone in a new process; it is flaky if it passes."""
    failures = {
        test: (traceback, result.environment)
        for result in outcome.results
        for test, traceback in result.record.failures.items()
    }
    files = {test.partition("::")[0] for test in failures}
    if not failures or len(files) > MAX_FILES or len(failures) > MAX_TESTS:
        outcome.failures = {test: traceback for test, (traceback, _) in failures.items()}
        return
    print(f"== retry: {len(failures)} tests, each alone", flush=True)
    began = time.monotonic()
    _wait_for_rest()
    end = min(end, time.monotonic() + RETRY_MINUTES * 60)
    for number, (test, (traceback, environment)) in enumerate(failures.items()):
        file = reports / f"retry-{number}.json"
        command = (*pytest_command(), "--numprocesses=0", test)
        code = _call(command, environment | {VARIABLE: str(file)}, RETRY_MINUTES * 60, end)
        record = Record.read(file)
        passes = code == PASSED and record is not None and record.passed == 1
        (outcome.flaky if passes else outcome.failures)[test] = traceback
    outcome.results.append(Result("retry", time.monotonic() - began))


def _wait_for_rest() -> None:
    """Wait until servers of the run have ended and the machine is quiet, but not for ever."""
    deadline = time.monotonic() + QUIET_SECONDS
    while os.getloadavg()[0] > QUIET_LOAD and time.monotonic() < deadline:
        time.sleep(1)


def _call(
    command: tuple[str, ...], environment: dict[str, str], seconds: float, end: float
) -> int | None:
    """Run a command in its own process group; return its exit code, or None at the time limit."""
    with subprocess.Popen(
        command, env=os.environ | environment, stdin=subprocess.DEVNULL, process_group=0
    ) as process:
        try:
            return process.wait(max(1.0, min(seconds, end - time.monotonic())))
        except subprocess.TimeoutExpired:
            return None
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Let a running command end its own servers, then kill it."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        if process.poll() is not None:
            return
        os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(END_SECONDS)


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.1f} min"
