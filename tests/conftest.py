"""Hypothesis profiles: few examples by default, many with HYPOTHESIS_PROFILE=thorough."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from hypothesis import HealthCheck, Phase, settings

from tests.patience import PATIENCE
from troth.planning import faults, planner

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
    "tests.failures",
    "tests.ordering",
    "tests.replay.serving",
)

# Shrinking a failure may take minutes. Explaining it afterwards would take as long again.
_PHASES = [phase for phase in Phase if phase is not Phase.explain]

# CI tries the same examples each time, so that a failure is about the change. Examples are random
# on a developer's machine and in `make campaign`.
_CI = bool(os.environ.get("CI"))

settings.register_profile(
    "default",
    deadline=None,
    max_examples=30,
    suppress_health_check=_CALM,
    phases=_PHASES,
    derandomize=_CI,
)
settings.register_profile("thorough", deadline=None, max_examples=500, suppress_health_check=_CALM)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


@pytest.fixture(autouse=True)
def end_of_traces() -> Iterator[None]:
    """Wait for a tracer that closes in the background: it uses `random`, which Hypothesis rejects
    in the strategies of a later test.
    """
    yield
    for thread in threading.enumerate():
        if thread.name == "end of traces":
            thread.join(PATIENCE)


@pytest.fixture(autouse=True)
def log_configuration() -> Iterator[None]:
    """Restore the log configuration, which commands set for their whole process."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)


@pytest.fixture(autouse=True)
def hidden_faults(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Fail a test during which planning raised, unless it is marked `faulty`.

    Planning catches the error and only sets a condition, so the test would not notice.
    """
    found: list[Exception] = []
    run, failed = faults.Isolation.run, faults.failed_plan

    def noted_run(isolation: Any, part: Any, otherwise: Any) -> Any:
        known = len(isolation.errors)
        result = run(isolation, part, otherwise)
        found.extend(isolation.errors[known:])
        return result

    def noted_failure(key: Any, world: Any, error: Exception, now: Any) -> Any:
        found.append(error)
        return failed(key, world, error, now)

    monkeypatch.setattr(faults.Isolation, "run", noted_run)
    monkeypatch.setattr(planner, "failed_plan", noted_failure)
    yield
    if found and request.node.get_closest_marker("faulty") is None:
        raise found[0]
