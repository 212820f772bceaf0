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
SHORT = ("-m", "not long")
"""Options of pytest that leave out long tests in files of other tests."""


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

    Raises `ValueError` if `only` names a path that does not exist.
    """
    if missing := [each for each in only if not (ROOT / "tests" / each).exists()]:
        raise ValueError(f"tests/{missing[0]} does not exist")
    sizes = files_below(only).keys()
    check = Part("check", ("make", "--no-print-directory", "check"), 15, is_required=True)
    if tier is Tier.GATE:
        parts = (
            check,
            _tests("small", [Size.SMALL], 2, 25, only),
            _build(40, *PROGRAMS, *(() if java.missing() else OF_JAVA)),
            _tests("medium", [Size.MEDIUM], 3, 35, only),
        )
        unneeded = {size for size in Size if size not in sizes}
        unneeded_parts = unneeded | ({"build"} if Size.MEDIUM in unneeded else set())
        return tuple(part for part in parts if part.name not in unneeded_parts)
    random = {"HYPOTHESIS_PROFILE": "random"}
    return (
        check,
        _build(90),
        _tests("small", [Size.SMALL], 2, 40, only, random),
        _tests("servers", [Size.MEDIUM, Size.LARGE], 4, 150, only, random),
        _tests("alone", [Size.ALONE], 0, 75, only, random),
    )


def _build(minutes: int, *programs: str) -> Part:
    return Part("build", (sys.executable, "-m", "sandbox", "build", *programs), minutes)


def _tests(  # noqa: PLR0917 - the columns of a table
    name: str,
    sizes: list[Size],
    workers: int,
    minutes: int,
    only: tuple[str, ...],
    environment: dict[str, str] | None = None,
    options: tuple[str, ...] = (),
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
    return Part(name, command, minutes, environment or {}, is_pytest=True)


def pytest_command() -> tuple[str, ...]:
    """Return the command of pytest, with a summary that names failures and errors."""
    return sys.executable, "-m", "pytest", "-rfE"
