"""The parts of `make test` and of `make test-all`, in their order."""

import os
import sys
from dataclasses import dataclass, field
from enum import StrEnum

from sandbox import java
from tests.gate.sizes import ROOT, Size, files_below, size_of

PROGRAMS = (
    *("etcd", "kube-apiserver", "kube-controller-manager", "helm"),
    *("actionlint", "promtool", "svid-judge", "token-judge", "event-judge", "audit-judge"),
    *("openreports-crds.yaml", "wgpolicy-crds.yaml", "sarif-schema.go"),
)
"""Programs and files that tests of size `medium` use."""

OF_JAVA = ("kafka", "nimbus-judge")
"""More of them; without Java, the tests that use them are skipped."""

SHORT = ("-m", "not long", "--without-quarantined")
"""Options of pytest that leave out long tests in files of other tests, and those in quarantine."""


class Tier(StrEnum):
    """A choice of tests."""

    GATE = "gate"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class Part:
    """One command of a run; `minutes` is its time limit."""

    name: str
    command: tuple[str, ...]
    minutes: int
    environment: dict[str, str] = field(default_factory=dict)
    is_pytest: bool = False
    is_required: bool = False
    """Without this part, later parts do not run."""


BUDGET = {Tier.GATE: 76, Tier.ALL: 240}
"""Minutes that a whole run may take. For the gate it fits into the 80 minutes of `.ci/run`."""


def parts_of(tier: Tier, only: tuple[str, ...] = ()) -> tuple[Part, ...]:
    """Return the parts of a tier that have tests; `only` chooses folders and files below `tests`.

    Raises `ValueError` if `only` names a path that does not exist, or no test of the tier.
    """
    if missing := [each for each in only if not (ROOT / "tests" / each).exists()]:
        raise ValueError(f"tests/{missing[0]} does not exist; name a folder or file below tests")
    sizes = files_below(only).keys()
    check = Part("check", ("make", "--no-print-directory", "check"), 15, is_required=True)
    build = _build(90)
    random = {"HYPOTHESIS_PROFILE": "random"}
    tests = {
        "small": ([Size.SMALL], 3, 40, random),
        "servers": ([Size.MEDIUM, Size.LARGE], 4, 150, random),
        "alone": ([Size.ALONE], 0, 75, random),
    }
    options: tuple[str, ...] = ()
    if tier is Tier.GATE:
        build = _build(40, *PROGRAMS, *(() if java.missing() else OF_JAVA))
        tests = {"small": ([Size.SMALL], 3, 25, {}), "medium": ([Size.MEDIUM], 4, 35, {})}
        options = SHORT
    parts = {
        name: _tests(name, *columns, only, options)
        for name, columns in tests.items()
        if not sizes.isdisjoint(columns[0])
    }
    if not parts:
        raise ValueError(
            f"no test in {' '.join(only)} has a size that this runs; use make test-all"
        )
    small = [part for name, part in parts.items() if name == "small"]
    others = [part for name, part in parts.items() if name != "small"]
    return (check, *small, *([build, *others] if others else []))


def _build(minutes: int, *programs: str) -> Part:
    return Part("build", (sys.executable, "-m", "sandbox", "build", *programs), minutes)


def _tests(  # noqa: PLR0917 - the columns of a table
    name: str,
    sizes: list[Size],
    workers: int,
    minutes: int,
    environment: dict[str, str],
    only: tuple[str, ...],
    options: tuple[str, ...],
) -> Part:
    workers = int(os.environ.get("WORKERS", workers)) if workers else 0
    spread = ("--dist=loadfile", "--no-loadscope-reorder") if workers else ()
    # pytest collects a file that it is given by name, whatever its size
    chosen = [each for each in only if not each.endswith(".py") or size_of(each) in sizes]
    command = (
        *pytest_command(),
        f"--numprocesses={workers}",
        *spread,
        *options,
        f"--sizes={','.join(sizes)}",
        f"--override-ini=session_timeout={(minutes - 1) * 60}",
        *(f"tests/{each}" for each in chosen),
    )
    return Part(name, command, minutes, environment, is_pytest=True)


def pytest_command() -> tuple[str, ...]:
    """Return the command of pytest, with a summary that names failures and errors."""
    return sys.executable, "-m", "pytest", "-rfE"
