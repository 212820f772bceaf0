"""Time until `troth` has answered, compared with Python itself and with one of its libraries."""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from time import perf_counter

from benchmarks.harness.report import Comparison, Figure, Report, quantile

ROUNDS = 12
SHOP = Path(__file__).parents[2] / "examples" / "shop"
HELP_AIM, PLAN_AIM = 0.15, 0.5
"""Aims for the median, in seconds."""
NOTE = (
    "Each side runs once in each round, after one round that is not counted. Processor time is of "
    "the processor, so other programs change it less than the time."
)

COMMANDS = {
    "troth --help": ("-m", "troth.cli", "--help"),
    "troth --version": ("-m", "troth.cli", "--version"),
    "troth check of nine files": ("-m", "troth.cli", "check", "-f", str(SHOP)),
    "troth plan of nine files": ("-m", "troth.cli", "plan", "-f", str(SHOP)),
}
PYTHON, PYDANTIC = "python -c pass", "python -c 'import pydantic'"
FLOORS = {PYTHON: ("-c", "pass"), PYDANTIC: ("-c", "import pydantic, pydantic.main")}


def reports() -> Iterator[Report]:
    """Measure all commands and both floors in turns."""
    sides = COMMANDS | FLOORS
    elapsed: dict[str, list[float]] = {name: [] for name in sides}
    computed: dict[str, list[float]] = {name: [] for name in sides}
    for counted in range(-1, ROUNDS):
        for name, arguments in sides.items():
            seconds, processor = _run(arguments)
            if counted >= 0:
                elapsed[name].append(seconds)
                computed[name].append(processor)
    yield Report(
        f"Command line: {ROUNDS} times each",
        [
            Comparison(f"{name}, against {floor}", elapsed[name], elapsed[floor])
            for name in COMMANDS
            for floor in FLOORS
        ],
        NOTE,
        [
            Figure("troth --help: p50", quantile(elapsed["troth --help"], 0.5), "s", HELP_AIM),
            Figure(
                "troth plan of nine files: p50",
                quantile(elapsed["troth plan of nine files"], 0.5),
                "s",
                PLAN_AIM,
            ),
            *(
                Figure(f"{name}: processor time, p50", quantile(computed[name], 0.5), "s")
                for name in sides
            ),
        ],
    )


def _run(arguments: Sequence[str]) -> tuple[float, float]:
    """Run Python once; return the elapsed and the processor time in seconds."""
    before, began = getrusage(RUSAGE_CHILDREN), perf_counter()
    subprocess.run(
        [sys.executable, *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,  # a plan that changes something ends with 1
    )
    elapsed, after = perf_counter() - began, getrusage(RUSAGE_CHILDREN)
    processor = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return elapsed, processor
