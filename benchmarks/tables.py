"""Reports as tables for people: what travels between machines first, milliseconds after."""

from collections.abc import Sequence

from rich.table import Table

from benchmarks.figures import QUANTILES, Comparison, Report, quantile

RATIOS = ("p50", "p99")


def table(report: Report) -> Table:
    """Return the table of a report that has rows."""
    repeated = any(len(row.troth) > 1 for row in report.rows)
    ratios = RATIOS if repeated else ("p50",)
    times = tuple(QUANTILES) if repeated else ("p50",)
    drawn = Table(title=report.title, caption=report.note or None, caption_justify="left")
    drawn.add_column("what")
    if repeated:
        drawn.add_column("times", justify="right")
    drawn.add_column(_head("ratio", ratios, repeated=repeated), justify="right")
    for side in ("Troth, ms", "floor, ms"):
        drawn.add_column(_head(side, times, repeated=repeated), justify="right")
    for row in report.rows:
        cells = [row.what, *([str(len(row.troth))] if repeated else [])]
        drawn.add_row(*cells, _ratios(row, ratios), *(_times(each, times) for each in _sides(row)))
    return drawn


def _head(head: str, names: Sequence[str], *, repeated: bool) -> str:
    return f"{head}\n{' / '.join(names)}" if repeated else head


def _sides(row: Comparison) -> tuple[Sequence[float], Sequence[float]]:
    return row.troth, row.floor


def _ratios(row: Comparison, names: Sequence[str]) -> str:
    return " / ".join(f"{row.ratio(QUANTILES[each]):.1f}x" for each in names)


def _times(seconds: Sequence[float], names: Sequence[str]) -> str:
    return " / ".join(f"{quantile(seconds, QUANTILES[each]) * 1000:.0f}" for each in names)
