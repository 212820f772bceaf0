"""Hypothesis profiles, and what each test restores.

`gate`, the default, has the same examples in each run, so more of them find nothing new. `random`
and `thorough` search for others; a test pins one that failed with `@example`.
"""

import os
import signal
import sys
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
import structlog
from hypothesis import HealthCheck, Phase, settings

from troth.planning import faults, parts, planner
from troth.planning.reasons import table
from troth.resources.conditions import Truth, Verdict

# A shell that runs tests in the background ignores SIGINT, and every process that the tests start
# inherits this.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Some environments forbid bytecode files. Then each process that the tests start compiles all of
# Troth, and each worker of pytest rewrites the assertions of all tests.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

_CALM = [HealthCheck.too_slow, HealthCheck.data_too_large]

pytest_plugins = (
    "tests.brokers.kafka.serving",
    "tests.brokers.nats.serving",
    "tests.connections",
    "tests.gate.isolation",
    "tests.gate.record",
    "tests.gate.sizes",
    "tests.gate.quarantine",  # imports the former
    "tests.ordering",
    "tests.replay.serving",
    "tests.uvicorn_ticks",
)

# Shrinking a failure may take minutes. Explaining it afterwards would take as long again.
_PHASES = [phase for phase in Phase if phase is not Phase.explain]

settings.register_profile(
    "gate",
    deadline=None,
    max_examples=15,
    suppress_health_check=_CALM,
    phases=_PHASES,
    derandomize=True,
    database=None,
    print_blob=True,
)
settings.register_profile(
    "random", deadline=None, max_examples=60, suppress_health_check=_CALM, phases=_PHASES
)
settings.register_profile("thorough", deadline=None, max_examples=500, suppress_health_check=_CALM)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "gate"))


@pytest.fixture(autouse=True)
def log_configuration() -> Iterator[None]:
    """Restore the log configuration, which commands set for their whole process."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)


@pytest.fixture(autouse=True)
def listed_reasons(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail a test that plans a condition with a reason that the table does not list for it."""

    def check(kind: str, verdict: Verdict) -> Verdict:
        condition = table.condition_of(kind, verdict.type)
        others = condition.stays | condition.passes | condition.soon
        listed = condition.met if verdict.status is Truth.TRUE else others
        assert verdict.reason in listed, f"{kind}: {verdict.type} {verdict.reason}"
        return verdict

    def checked(kind: str, verdicts: Iterable[Verdict]) -> list[Verdict]:
        return table.ordered(kind, [check(kind, each) for each in verdicts])

    monkeypatch.setattr(parts, "ordered", checked)
    monkeypatch.setattr(parts, "course", lambda kind, each: table.course(kind, check(kind, each)))


@pytest.fixture(autouse=True)
def hidden_faults(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Fail a test during which planning raised, unless it is marked `faulty`.

    Planning catches the error and only sets a condition, so the test would not notice.
    """
    found: list[Exception] = []
    run, failed, caught = faults.ErrorBoundary.run, faults.failed_plan, parts.caught

    def noted_run(boundary: Any, part: Any, otherwise: Any) -> Any:
        known = len(boundary.errors)
        result = run(boundary, part, otherwise)
        found.extend(boundary.errors[known:])
        return result

    def noted_part(error: Exception, part: Any) -> Any:
        found.append(error)
        return caught(error, part)

    def noted_failure(key: Any, world: Any, error: Exception, now: Any) -> Any:
        found.append(error)
        return failed(key, world, error, now)

    monkeypatch.setattr(faults.ErrorBoundary, "run", noted_run)
    monkeypatch.setattr(parts, "caught", noted_part)
    monkeypatch.setattr(planner, "failed_plan", noted_failure)
    yield
    if found and request.node.get_closest_marker("faulty") is None:
        raise found[0]
