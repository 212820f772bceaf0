"""Reports as tables: ratios first, which are comparable between machines, then times."""

from collections.abc import Iterator, Sequence

from rich.table import Table

from benchmarks.harness.report import QUANTILES, Comparison, Figure, Report, quantile

RATIOS = ("p50", "p99")
UNITS = (("ms", 1e3), ("µs", 1e6))
SHORT = 1e-3
"""Time in seconds below which milliseconds are too coarse."""


def tables(report: Report) -> Iterator[Table]:
    """Yield the table of times with the floor's and the table of counts and sizes, if any."""
    drawn = [draw(report) for draw in (_times_of, _figures_of)]
    shown = [each for each in drawn if each.rows]
    if shown:
        shown[0].title, shown[-1].caption = report.title, report.note or None
    yield from shown


def _times_of(report: Report) -> Table:
    repeated = any(len(row.troth) > 1 for row in report.rows)
    aimed = any(row.aim is not None for row in report.rows)
    ratios = RATIOS if repeated else ("p50",)
    times = tuple(QUANTILES) if repeated else ("p50",)
    short = all(quantile(row.troth, QUANTILES["p50"]) < SHORT for row in report.rows)
    unit, scale = UNITS[short]
    drawn = Table("what", caption_justify="left")
    if repeated:
        drawn.add_column("times", justify="right")
    drawn.add_column(_head("ratio", ratios, repeated=repeated), justify="right")
    if aimed:
        drawn.add_column("aim", justify="right")
    for side in (f"Troth, {unit}", f"floor, {unit}"):
        drawn.add_column(_head(side, times, repeated=repeated), justify="right")
    for row in report.rows:
        cells = [row.what, *([str(len(row.troth))] if repeated else []), _ratios(row, ratios)]
        cells += [_aim(row, "x")] if aimed else []
        drawn.add_row(*cells, *(_times(each, times, scale) for each in _sides(row)))
    return drawn


def _figures_of(report: Report) -> Table:
    drawn = Table("what", caption_justify="left")
    for head in ("found", "aim"):
        drawn.add_column(head, justify="right")
    for figure in report.figures:
        unit = f" {figure.unit}" if figure.unit else ""
        drawn.add_row(figure.what, _number(figure.value) + unit, _aim(figure, unit))
    return drawn


def _aim(of: Comparison | Figure, unit: str) -> str:
    if of.aim is None:
        return ""
    return f"{_number(of.aim)}{unit}, {'kept' if of.kept else 'missed'}"


def _number(value: float) -> str:
    return f"{value:,.3f}".rstrip("0").rstrip(".")


def _head(head: str, names: Sequence[str], *, repeated: bool) -> str:
    return f"{head}\n{' / '.join(names)}" if repeated else head


def _sides(row: Comparison) -> tuple[Sequence[float], Sequence[float]]:
    return row.troth, row.floor


def _ratios(row: Comparison, names: Sequence[str]) -> str:
    return " / ".join(f"{row.ratio(QUANTILES[each]):.1f}x" for each in names)


def _times(seconds: Sequence[float], names: Sequence[str], scale: float) -> str:
    return " / ".join(f"{quantile(seconds, QUANTILES[each]) * scale:.0f}" for each in names)
