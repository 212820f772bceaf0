"""The pictures: which figures of which benchmark each shows."""

import re
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.page.svg import Points, Text, bar_chart, line_chart

JSON = Mapping[str, Any]
TIMES = "seconds"
"""Member of a row with all its times, and of a run with its own."""
DIGITS = 4
SIZE = re.compile(r"([\d,]+) identities")


@dataclass(frozen=True, slots=True)
class Lines:
    """A line chart over the sizes of fleets, which the titles of reports name.

    `lines` has the name of each line, and that of its figures.
    """

    file: str
    benchmark: str
    text: Text
    lines: Mapping[str, str]

    def draw(self, results: JSON) -> str | None:
        """Return the SVG, None if the results have fewer than two sizes."""
        drawn = {
            name: points
            for name, what in self.lines.items()
            if len(points := self._points(results, what)) > 1
        }
        return line_chart(self.text, drawn) if drawn else None

    def _points(self, results: JSON, what: str) -> Points:
        return [
            (float(size[1].replace(",", "")), figure["value"])
            for report in _reports(results, self.benchmark)
            if (size := SIZE.search(report["title"]))
            for figure in report["figures"]
            if figure["what"] == what
        ]


@dataclass(frozen=True, slots=True)
class Bars:
    """A bar chart of figures of one benchmark: `bars` has the name of each bar, and its figure.

    `aimed` is the figure that has the aim.
    """

    file: str
    benchmark: str
    text: Text
    bars: Mapping[str, str]
    aimed: str = ""

    def draw(self, results: JSON) -> str | None:
        """Return the SVG, None if the results have none of the figures."""
        found = {
            figure["what"]: figure
            for report in _reports(results, self.benchmark)
            for figure in report["figures"]
        }
        drawn = {name: found[what]["value"] for name, what in self.bars.items() if what in found}
        aim = found.get(self.aimed, {}).get("aim")
        return bar_chart(self.text, drawn, aim) if drawn else None


IDENTITIES = "identities"
PICTURES: Sequence[Lines | Bars] = (
    Lines(
        "growth-time.svg",
        "growth",
        Text("Time until all identities are ready", IDENTITIES, "seconds"),
        {"all new": "all new, until ready", "after a restart": "restart, until ready"},
    ),
    Lines(
        "growth-processor.svg",
        "growth",
        Text("Processor time of the operator", IDENTITIES, "seconds"),
        {"all new": "all new, processor time", "after a restart": "restart, processor time"},
    ),
    Lines(
        "growth-memory.svg",
        "growth",
        Text("Memory of the operator", IDENTITIES, "MB"),
        {
            "all new": "all new, memory afterwards",
            "restart, the peak": "restart, the peak",
            "restart, at rest": "restart, memory at rest",
        },
    ),
    Lines(
        "simulation-memory.svg",
        "simulation",
        Text("Memory in a large, simulated cluster", IDENTITIES, "MB"),
        {
            "with rollouts": "memory at rest with rollouts",
            "restart, the peak": "the peak of the restart",
            "at rest": "memory at rest after it",
        },
    ),
    Lines(
        "simulation-start.svg",
        "simulation",
        Text("A restart in a large, simulated cluster", IDENTITIES, "seconds until ready"),
        {"elapsed": "a restart, until ready"},
    ),
    Bars(
        "gateway-rates.svg",
        "webhooks",
        Text("Webhooks through the gateway on one core", "", "deliveries a second"),
        {
            "bare server that answers 204": "deliveries per second: the floor",
            "store in memory": "deliveries per second: store in memory",
            "Valkey, appendfsync everysec": (
                "deliveries per second: store in Valkey, appendfsync everysec"
            ),
            "Valkey, appendfsync always": (
                "deliveries per second: store in Valkey, appendfsync always"
            ),
            "to a target: token, mutual TLS": (
                "deliveries per second: with a token, to a target over mTLS"
            ),
        },
    ),
    Bars(
        "server-cost.svg",
        "server-cost",
        Text(
            "Processor time of API server and etcd for an identity with 4 edges",
            "",
            "milliseconds",
        ),
        {
            "all four writes": "4 edges: all four writes",
            "declaration": "4 edges: declaration, shipped",
            "Secret": "4 edges: Secret",
            "NetworkPolicy": "4 edges: NetworkPolicy",
            "status": "4 edges: status, shipped",
        },
        aimed="4 edges: all four writes",
    ),
)
SHOWN = frozenset(each.benchmark for each in PICTURES)
"""Benchmarks of which a picture is drawn."""


TITLES = {each.file: each.text.title for each in PICTURES}
PLACE = re.compile(
    r"^(?P<mark><!-- picture: (?P<file>\S+) -->\n)(?:!\[.*\]\(.*\)\n)?", re.MULTILINE
)
"""A comment that names a picture, and the picture if it was drawn before."""


def draw(results: JSON) -> dict[str, str]:
    """Return the SVG of each picture for which the results have figures, by file name."""
    drawn = {each.file: each.draw(results) for each in PICTURES}
    return {file: svg for file, svg in drawn.items() if svg is not None}


def merged(runs: Iterable[JSON]) -> JSON:
    """Return the last full report of each title, with the machine and the load of its run.

    Benchmarks without a picture are left out.
    """
    found: dict[str, dict[str, JSON]] = {}
    for run in runs:
        if run.get("short") or run["benchmark"] not in SHOWN:
            continue
        for report in run["reports"]:
            reports = found.setdefault(run["benchmark"], {})
            reports[report["title"]] = {"machine": run.get("machine"), **report}
    return {
        "runs": [
            {"benchmark": benchmark, "reports": [*reports.values()]}
            for benchmark, reports in found.items()
        ]
    }


def updated(results: JSON, new: JSON) -> JSON:
    """Return results in which those of each benchmark are the new ones, if there are any."""
    replaced = {run["benchmark"] for run in new["runs"]}
    kept = [run for run in results["runs"] if run["benchmark"] not in replaced]
    return {"runs": [*kept, *new["runs"]]}


def placed(page: str, directory: str, drawn: Container[str]) -> str:
    """Return a page with the drawn pictures, each below the comment that names its file."""

    def picture(place: re.Match[str]) -> str:
        mark, file = place["mark"], place["file"]
        return f"{mark}![{TITLES[file]}]({directory}/{file})\n" if file in drawn else mark

    return PLACE.sub(picture, page)


def summary(results: JSON) -> dict[str, Any]:
    """Return results without the single times, and rounded: small enough to be committed."""
    return {"runs": _short(sorted(results["runs"], key=lambda run: run["benchmark"]))}


def _short(value: Any) -> Any:  # noqa: ANN401 - JSON
    match value:
        case dict():
            return {key: _short(each) for key, each in value.items() if key != TIMES}
        case list():
            return [_short(each) for each in value]
        case float():
            return float(f"{value:.{DIGITS}g}")
        case _:
            return value


def _reports(results: JSON, benchmark: str) -> Iterator[JSON]:
    for run in results["runs"]:
        if run["benchmark"] == benchmark:
            yield from run["reports"]
