"""The benchmarks, by name; each is one entry of `BENCHMARKS`, and its module is imported to run."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from inspect import signature
from typing import Any

from benchmarks.harness.report import Report

SIZES = "sizes"
"""Parameter of `reports` that has the numbers of identities."""


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A benchmark: its name, what it measures, and the function that yields its reports.

    `place` is a module of this package, whose function is `reports`, or `module:function`. `short`
    has the arguments with which `make bench` runs it: it has no others, or is left out if None.
    """

    name: str
    about: str
    place: str
    short: Mapping[str, Any] | None = None

    def function(self) -> Callable[..., Iterator[Report]]:
        """Return the function that yields the reports."""
        module, _, name = self.place.partition(":")
        function: Callable[..., Iterator[Report]] = getattr(
            import_module(f"benchmarks.{module}"), name or "reports"
        )
        return function

    @property
    def has_sizes(self) -> bool:
        """Whether the sizes of its fleets can be chosen."""
        return SIZES in signature(self.function()).parameters

    def reports(self, *, short: bool, sizes: Sequence[int] = ()) -> Iterator[Report]:
        """Run the benchmark at its full sizes, short if it has a short form, or at given sizes."""
        arguments = dict(self.short or {}) if short else {}
        return self.function()(**(arguments | ({SIZES: sizes} if sizes else {})))


BENCHMARKS = (
    Benchmark(
        "convergence",
        "until a new fleet is ready",
        "fleet.convergence",
        {"sizes": (1000,), "rounds": 1},
    ),
    Benchmark("growth", "time, processor time and memory, by size of the fleet", "fleet.growth"),
    Benchmark("effect", "until packets and pods conform to a changed edge", "fleet.effect"),
    Benchmark("rotation", "all leaves, and a root, replaced", "fleet.rotation"),
    Benchmark("budgets", "requests for each kind of change", "fleet.budgets"),
    Benchmark(
        "hostile", "the longest stall while a tenant names everybody's ports", "fleet.hostile"
    ),
    Benchmark("bundles", "bundles of thousands of namespaces", "fleet.bundles"),
    Benchmark(
        "edge", "until one more edge is written", "fleet.edge", {"sizes": (200,), "edges": 50}
    ),
    Benchmark(
        "restart",
        "from a start until ready, and idle requests",
        "fleet.restart",
        {"identities": 1000, "restarts": 2, "idle_seconds": 15.0},
    ),
    Benchmark(
        "memory",
        "memory of the operator",
        "fleet.memory",
        {"sizes": (1000,), "restarts": 1, "foreign": 0},
    ),
    Benchmark("simulation", "a large cluster, at a simulated API server", "simulation.bench"),
    Benchmark(
        "simulation-check",
        "the simulated API server, compared with a real one",
        "simulation.bench:comparisons",
    ),
    Benchmark("middleware", "verification of tokens in a service", "tokens.middleware"),
    Benchmark("issuer", "tokens a second", "tokens.issuer", {"rounds": 4}),
    Benchmark("view", "until the issuer applies changed edges", "tokens.view"),
    Benchmark("brokers", "grants at Kafka and NATS", "brokers.bench"),
    Benchmark(
        "webhooks",
        "deliveries a second through the gateway, and its memory",
        "webhooks.gateway",
        {"rounds": 2, "rates_only": True},
    ),
    Benchmark(
        "webhook-memory",
        "memory of the gateway over a million deliveries",
        "webhooks.gateway:memory_reports",
    ),
    Benchmark("webhook-rejections", "rejection of unknown senders", "webhooks.rejections"),
    Benchmark("events", "seal and open one event", "events.edge"),
    Benchmark("event-throughput", "sealed events through Kafka", "events.throughput"),
    Benchmark(
        "event-memory", "memory of a process that seals and opens a million events", "events.memory"
    ),
    Benchmark("audit", "evaluation of all rules", "audit.evaluation"),
    Benchmark("letter-index", "the index of dead letters", "reviews.index"),
    Benchmark("redrive", "dead letters published again", "reviews.redrive"),
    Benchmark("cli", "the command line, until it answers", "cli.latency", {}),
    Benchmark("retained", "memory of an identity, by part", "fleet.retained", {}),
    Benchmark(
        "server-cost",
        "processor time of the API server for each write",
        "fleet.server_cost",
        {"rounds": 3, "writes": 15},
    ),
    Benchmark(
        "single",
        "until one new identity is ready",
        "fleet.single",
        {"identities": 200, "samples": 40},
    ),
    Benchmark("workers", "several processes of a gateway or an issuer", "workers.bench"),
    Benchmark("shards", "two processes of the operator that share its keys", "fleet.shards"),
)
