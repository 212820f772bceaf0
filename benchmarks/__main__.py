"""`make bench`: the cost of Troth, compared with the minimum requests for the same result.

The floor is a plain client that sends the same writes, or reads the same lists, with the same
concurrency and no other work. Ratios are comparable between machines; seconds are not.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

from rich.console import Console

from benchmarks.harness.machine import Machine
from benchmarks.harness.report import Report
from benchmarks.harness.tables import tables
from benchmarks.registry import BENCHMARKS, Benchmark
from benchmarks.results import Results, Run
from troth.serving.logs import LogFormat, configure

BUSY = (
    "The load of this machine is {load}. Other processes use its cores, so compare ratios and "
    "processor times, and repeat what decides something."
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the requested benchmarks, print their reports, and end with code 1 if one failed."""
    parser = _parser()
    asked = parser.parse_args(arguments)
    if asked.sizes and not (asked.benchmark and all(each.has_sizes for each in asked.benchmark)):
        parser.error("--sizes needs names of benchmarks that have sizes: " + ", ".join(_sized()))
    if asked.short and any(each.short is None for each in asked.benchmark):
        parser.error("--short needs names of benchmarks that have a short form: " + _shortened())
    # An installed Troth has bytecode; without it, each measured process would compile all of Troth.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    configure(LogFormat.CONSOLE, "warning")  # log warnings to standard error
    console, notes = Console(file=sys.stdout), Console(stderr=True, highlight=False)
    results, machine = Results(), Machine.here()
    notes.print(str(machine), soft_wrap=True)
    if machine.busy:
        notes.print(BUSY.format(load=machine.load), soft_wrap=True)
    chosen = asked.benchmark or chosen_from(BENCHMARKS, short=asked.short)
    for number, benchmark in enumerate(chosen, 1):
        title = f"[{number}/{len(chosen)}] {benchmark.name}"
        notes.print(f"{title}: {benchmark.about} ...", markup=False, soft_wrap=True)
        reports = partial(benchmark.reports, short=asked.short, sizes=asked.sizes)
        run = run_one(benchmark.name, reports, partial(show, console), short=asked.short)
        results.runs.append(run)
        outcome = run.failure or "done"
        notes.print(f"{title}: {outcome}, {run.seconds:.0f} s", markup=False, soft_wrap=True)
        if asked.json:
            results.write(asked.json)
    conclude(results, console)
    if any(run.failure for run in results.runs):
        sys.exit(1)


def chosen_from(benchmarks: Iterable[Benchmark], *, short: bool) -> list[Benchmark]:
    """Return all benchmarks, or those that have a short form."""
    return [each for each in benchmarks if each.short is not None or not short]


def run_one(
    name: str,
    measure: Callable[[], Iterator[Report]],
    shown: Callable[[Report], None],
    *,
    short: bool,
) -> Run:
    """Run a benchmark and show its reports.

    Its failure is part of the result, because the others are still measured.
    """
    machine, began = Machine.here(), time.perf_counter()
    reports: list[Report] = []
    failure = ""
    try:
        for report in measure():
            reports.append(report)
            shown(report)
    except Exception as error:  # noqa: BLE001 - whatever ends one benchmark, the others run
        failure = f"{type(error).__name__}: {error}"
    seconds = time.perf_counter() - began
    return Run(name, machine, short, seconds, reports, failure)


def show(console: Console, report: Report) -> None:
    """Print a report as tables, or the reason why nothing was measured."""
    for table in tables(report):
        console.print(table)
    if not (report.rows or report.figures):
        console.print(f"{report.title}\n{report.note}", markup=False, soft_wrap=True)


def conclude(results: Results, console: Console) -> None:
    """Print which aims were missed, and which benchmarks failed."""
    judged = list(results.judged())
    missed = [what for what, kept in judged if not kept]
    lines = [f"Aims: {len(judged) - len(missed)} kept, {len(missed)} missed."]
    lines += [f"  missed: {what}" for what in missed]
    lines += [f"  failed: {run.benchmark}: {run.failure}" for run in results.runs if run.failure]
    minutes = sum(run.seconds for run in results.runs) / 60
    lines.append(f"{len(results.runs)} benchmarks took {minutes:.1f} minutes.")
    console.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure Troth beside a floor: the least work that has the same result.",
        epilog="benchmarks:\n" + "\n".join(map(_line, BENCHMARKS)) + "\n* `--short` runs it.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("benchmark", nargs="*", type=_named, metavar="NAME", help="without, all")
    parser.add_argument(
        "--short", action="store_true", help="a selection at small sizes, in about ten minutes"
    )
    parser.add_argument(
        "--sizes", type=_sizes, default=(), metavar="N,...", help="numbers of identities"
    )
    parser.add_argument(
        "--json", type=_file, metavar="FILE", help="also write every time taken to a file, as JSON"
    )
    return parser


def _named(name: str) -> Benchmark:
    for each in BENCHMARKS:
        if each.name == name:
            return each
    raise argparse.ArgumentTypeError(f"there is no benchmark {name!r}; --help lists them")


def _sized() -> Iterator[str]:
    return (each.name for each in BENCHMARKS if each.has_sizes)


def _shortened() -> str:
    return ", ".join(each.name for each in chosen_from(BENCHMARKS, short=True))


def _sizes(text: str) -> tuple[int, ...]:
    sizes = tuple(int(each) if each.isdecimal() else 0 for each in text.split(","))
    if min(sizes) < 1:
        raise argparse.ArgumentTypeError(f"{text}: write numbers above 0, separated by commas")
    return sizes


def _line(benchmark: Benchmark) -> str:
    mark = " " if benchmark.short is None else "*"
    return f"  {benchmark.name:<20}{mark} {benchmark.about}"


def _file(text: str) -> Path:
    """Return a path that can be written; hours of measurement must not end at a wrong one."""
    path = Path(text)
    if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
        what = "write the path of a file in a directory where you may write"
        raise argparse.ArgumentTypeError(f"{text} cannot be written; {what}")
    return path


if __name__ == "__main__":
    main()
