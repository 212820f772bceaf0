"""`make bench`: the cost of Troth, compared with the minimum requests for the same result.

The floor is a plain aiohttp client that sends the same writes, or reads the same lists, with the
same concurrency and no other work. Ratios are comparable between machines; seconds are not.
"""

import argparse
import json
import sys
from enum import StrEnum

from rich.console import Console

from benchmarks.brokers import bench as brokers
from benchmarks.fleet import budgets, bundles, convergence, edge, effect, memory, restart, rotation
from benchmarks.harness.tables import tables
from benchmarks.tokens import issuer, middleware, view
from benchmarks.webhooks import gateway as webhooks
from benchmarks.webhooks import rejections
from troth.serving.logs import LogFormat, configure


class Benchmark(StrEnum):
    """Names of the benchmarks."""

    CONVERGENCE = "convergence"
    EFFECT = "effect"
    ROTATION = "rotation"
    BUDGETS = "budgets"
    BUNDLES = "bundles"
    EDGE = "edge"
    RESTART = "restart"
    MEMORY = "memory"
    MIDDLEWARE = "middleware"
    ISSUER = "issuer"
    VIEW = "view"
    BROKERS = "brokers"
    WEBHOOKS = "webhooks"
    WEBHOOK_MEMORY = "webhook-memory"
    WEBHOOK_REJECTIONS = "webhook-rejections"


REPORTS = {
    Benchmark.CONVERGENCE: convergence.reports,
    Benchmark.EFFECT: effect.reports,
    Benchmark.ROTATION: rotation.reports,
    Benchmark.BUDGETS: budgets.reports,
    Benchmark.BUNDLES: bundles.reports,
    Benchmark.EDGE: edge.reports,
    Benchmark.RESTART: restart.reports,
    Benchmark.MEMORY: memory.reports,
    Benchmark.MIDDLEWARE: middleware.reports,
    Benchmark.ISSUER: issuer.reports,
    Benchmark.VIEW: view.reports,
    Benchmark.BROKERS: brokers.reports,
    Benchmark.WEBHOOKS: webhooks.reports,
    Benchmark.WEBHOOK_MEMORY: webhooks.memory_reports,
    Benchmark.WEBHOOK_REJECTIONS: rejections.reports,
}


def main() -> None:
    """Run the requested benchmarks and print their reports."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure Troth.")
    named = ", ".join(Benchmark)
    parser.add_argument("benchmark", nargs="*", type=Benchmark, help=f"{named}; without, all")
    parser.add_argument("--json", action="store_true", help="print every time taken, as JSON")
    asked = parser.parse_args()
    configure(LogFormat.CONSOLE, "warning")  # log warnings to standard error
    console = Console(file=sys.stdout)
    found = []
    for benchmark in asked.benchmark or Benchmark:
        for report in REPORTS[benchmark]():
            found.append({"benchmark": benchmark.value, **report.content()})
            if asked.json:
                continue
            for table in tables(report):
                console.print(table)
            if not (report.rows or report.figures):
                console.print(f"{report.title}\n{report.note}", markup=False, soft_wrap=True)
    if asked.json:
        print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
