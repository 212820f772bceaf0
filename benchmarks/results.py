"""The results of a run: what was measured, on which machine, and which aims were missed."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.harness.machine import Machine
from benchmarks.harness.report import Comparison, Figure, Report


@dataclass(frozen=True, slots=True)
class Run:
    """One benchmark's reports, and the seconds that it took; `failure` is why it has no more.

    The machine has the load at its start.
    """

    benchmark: str
    machine: Machine
    short: bool
    seconds: float
    reports: Sequence[Report]
    failure: str = ""

    def content(self) -> dict[str, Any]:
        """Return the run as JSON."""
        return {
            "benchmark": self.benchmark,
            "machine": self.machine.content(),
            "short": self.short,
            "seconds": round(self.seconds, 1),
            "failure": self.failure,
            "reports": [report.content() for report in self.reports],
        }


@dataclass(frozen=True, slots=True)
class Results:
    """The runs of one `python -m benchmarks`."""

    runs: list[Run] = field(default_factory=list)

    def write(self, file: Path) -> None:
        """Write the results so far, so that a run that is interrupted keeps what it measured."""
        content = {"runs": [run.content() for run in self.runs]}
        file.write_text(json.dumps(content, indent=2) + "\n")

    def judged(self) -> Iterator[tuple[str, bool]]:
        """Yield each figure that has an aim, by benchmark and name, and whether it is met."""
        for run in self.runs:
            for report in run.reports:
                judged: list[Comparison | Figure] = [*report.rows, *report.figures]
                for each in judged:
                    if each.kept is not None:
                        yield f"{run.benchmark}: {each.what}", each.kept
