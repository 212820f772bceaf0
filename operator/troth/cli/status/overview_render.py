"""Renders the overview of `troth status`."""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from troth.cli.quoting import quoted
from troth.cli.status.models import Entry
from troth.cli.status.overview import Expiry, Overview
from troth.cli.status.track import until
from troth.resources.schema.scalars import parse_moment
from troth.resources.schema.sentences import counted

MOST = 8
"""Lines of each section. The others are counted, so that the overview fits on one screen."""
NEXT = 5
SOON = timedelta(days=30)
_UNVALIDATED, _DISPROVEN = "Unvalidated", "Disproven"
_WHERE_FOUND = frozenset({_UNVALIDATED, _DISPROVEN})
"""Sections that are shown only if they have entries."""


def show_overview(console: Console, found: Overview, now: datetime) -> None:
    """Print the overview: counts, then one section each for what needs a person."""
    counts = ", ".join(_counted(kind, count) for kind, count in found.counts.items())
    console.print(Text(counts or "no resources found", "bold"))
    if not found.counts:
        return
    live = f"{counted(found.live_edges, 'edge')}, {counted(found.live_grants, 'grant')}"
    console.print(Text.assemble(("Live", "bold green"), f"  {live}"))
    sections = (
        ("Half-declared", found.half_declared, "yellow"),
        ("Rejected", found.rejected, "red"),
        (_UNVALIDATED, found.unvalidated, "yellow"),
        (_DISPROVEN, found.disproven, "red"),
        ("Drifting", found.drifting, "red"),
    )
    for title, entries, style in sections:
        shown = f"bold {style if entries else 'green'}"
        if entries or title not in _WHERE_FOUND:
            console.print(Text.assemble((title, shown), f"  {len(entries) or 'none'}"))
        _show(console, (_line(each) for each in entries[:MOST]), len(entries) - MOST)
    console.print(Text("Expiring next", "bold"))
    console.print(Padding(_table(found.expiring, now), (0, 0, 0, 2), expand=False))


def _counted(kind: str, count: int) -> str:
    plural = f"{kind.removesuffix('y')}ies" if kind.endswith("y") else f"{kind}s"
    return f"{count} {kind if count == 1 else plural}"


def _line(entry: Entry) -> Text:
    return Text.assemble(
        (quoted(entry.what), "bold"),
        quoted(f"  {entry.reason}: {entry.message}".removesuffix(": ")),
    )


def _show(console: Console, lines: Iterable[Text], more: int) -> None:
    for line in lines:
        console.print(Padding(line, (0, 0, 0, 2), expand=False))
    if more > 0:
        console.print(Padding(Text(f"and {more} more", "dim"), (0, 0, 0, 2), expand=False))


def _table(expiring: tuple[Expiry, ...], now: datetime) -> Table:
    table = Table.grid(padding=(0, 2))
    for _ in range(2):
        table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for each in _next(expiring):
        end = parse_moment(each.at)
        told = f"renewed, expires {until(end, now)}"
        style = "red" if end <= now else ""
        if not each.renewed:
            told = f"ended {end:%Y-%m-%d}" if end <= now else f"ends {until(end, now)}"
            style = "red" if end <= now else "yellow" if end <= now + SOON else ""
        table.add_row(f"{end:%Y-%m-%d %H:%M}Z", Text(told, style), Text(quoted(each.what)))
    if not table.row_count:
        table.add_row("nothing")
    return table


def _next(expiring: tuple[Expiry, ...]) -> Iterator[Expiry]:
    """Yield what a person must renew, then the first that Troth renews."""
    yield from [each for each in expiring if not each.renewed][:NEXT]
    yield from [each for each in expiring if each.renewed][:1]
