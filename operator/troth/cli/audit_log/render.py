"""Renders `troth audit-log verify`: facts about the log, its faults, and the verdict."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.text import Text

from troth.cli.checks import facts_table
from troth.cli.quoting import quoted
from troth.resources.schema.scalars import format_time
from troth.review.trail.verification import Report


@dataclass(frozen=True, slots=True)
class Named:
    """What the user named, without which some faults cannot be found."""

    worker: bool
    head: bool

    @property
    def limits(self) -> list[str]:
        """What the verdict does not say."""
        found = []
        if not self.worker:
            found.append("Any workload may have signed; name the worker with --worker.")
        if not self.head:
            found.append("Entries may be missing at the end; name the head with --head.")
        return found


def show(console: Console, unwrapped: Console, report: Report, named: Named) -> None:
    """Print the log's facts, then its faults, one a line, then the verdict."""
    if report.log is not None:
        console.print(facts_table(_facts(report)))
        console.print()
    for each in report.faults:
        place = f"{each.place}: " if each.place else ""
        unwrapped.print(Text(quoted(f"{place}{each.problem}: {each.sentence}")))
    if report.faults:
        number = len(report.faults)
        console.print(Text(f"not intact: {number} fault{'s' * (number != 1)}", "bold red"))
        return
    console.print(Text("intact", "bold green"))
    for limit in named.limits:
        console.print(Text(limit, "yellow"))


def document(report: Report, named: Named) -> dict[str, Any]:
    """Return the result as JSON."""
    return {
        "intact": not report.faults,
        "log": report.log,
        "worker": report.worker,
        "entries": report.entries,
        "first": report.first,
        "last": report.last,
        "hash": report.hash,
        "begins": _moment(report.begins) if report.entries else None,
        "ends": _moment(report.ends) if report.entries else None,
        "decisions": dict(sorted(report.decisions.items())),
        "repeated": report.repeated,
        "torn": report.torn,
        "faults": [
            {"problem": each.problem.value, "place": each.place, "sentence": each.sentence}
            | ({} if each.sequence is None else {"sequence": each.sequence})
            for each in report.faults
        ],
        "limits": named.limits,
    }


def _facts(report: Report) -> dict[str, object]:
    decisions = ", ".join(f"{number} {name}" for name, number in sorted(report.decisions.items()))
    facts: dict[str, object] = {
        "log": report.log,
        "worker": report.worker,
        "entries": f"{report.entries}, from {report.first} to {report.last}: {decisions}",
        "time": f"{_moment(report.begins)} to {_moment(report.ends)}",
        "hash": report.hash,
    }
    if report.repeated or report.torn:
        facts["lines"] = f"{report.repeated} repeated, {report.torn} cut by a crash and repeated"
    return facts


def _moment(seconds: float) -> str:
    return format_time(datetime.fromtimestamp(seconds, UTC))
