"""SVG of two kinds of chart, lines over a size and bars; readable on a light and a dark page."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 640, 320
TOP, BOTTOM, LEFT, RIGHT = 60, 44, 64, 170
"""Margins of the plot of a line chart: title, axis, numbers, and the names of the lines."""
TICKS = 5
LINE_GAP = 16
"""Distance between the names of two lines, which else would overlap."""
BAR, BAR_GAP = 20, 10
BAR_LEFT, BAR_RIGHT = 250, 110
"""Margins of the bars: their names, and their values."""
COLOURS = (("#1d4ed8", "#7aa8ff"), ("#b45309", "#fbbf24"), ("#047857", "#34d399"))
"""Colours of lines on a light and on a dark page."""
FONTS = "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif"
ROUND = (1, 2, 5, 10)
SMALL = 100
"""Values below it are shown with a decimal place."""

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Text:
    """Texts of a chart: its title, and what its axes show."""

    title: str
    across: str
    up: str


def line_chart(text: Text, lines: Mapping[str, Points]) -> str:
    """Return a chart with a line for each name; both axes begin at 0."""
    right = max(x for points in lines.values() for x, _ in points)
    top = max(y for points in lines.values() for _, y in points)
    marks = ticks(top)
    highest = max(marks[-1], top)

    def place(x: float, y: float) -> tuple[float, float]:
        across = LEFT + x / right * (WIDTH - LEFT - RIGHT)
        return across, HEIGHT - BOTTOM - y / highest * (HEIGHT - TOP - BOTTOM)

    parts = [_text(LEFT, TOP - 14, text.up, "small")]
    for mark in marks:
        _, y = place(0, mark)
        parts.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>')
        parts.append(_text(LEFT - 8, y + 4, number(mark), "small end"))
    for mark in ticks(right):
        x, y = place(mark, 0)
        parts.append(_text(x, y + 18, number(mark), "small middle"))
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, text.across, "small middle"))
    ends = {name: place(*max(points))[1] for name, points in lines.items()}
    heights = apart(ends)
    for index, (name, points) in enumerate(lines.items()):
        spots = [place(*point) for point in sorted(points)]
        drawn = " ".join(f"{x:.1f},{y:.1f}" for x, y in spots)
        parts.append(f'<polyline class="line c{index}" points="{drawn}"/>')
        parts += [f'<circle class="c{index}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>' for x, y in spots]
        parts.append(_text(spots[-1][0] + 10, heights[name] + 4, name, f"c{index}"))
    return _document(text, HEIGHT, parts, _described(text, lines))


def bar_chart(text: Text, bars: Mapping[str, float], aim: float | None = None) -> str:
    """Return a chart with a horizontal bar for each name, and a mark for an aim."""
    longest = max(*bars.values(), aim or 0)
    height = TOP + len(bars) * (BAR + BAR_GAP) + BOTTOM // 2
    scale = (WIDTH - BAR_LEFT - BAR_RIGHT) / longest
    parts = [_text(BAR_LEFT, TOP - 14, text.up, "small")]
    for index, (name, value) in enumerate(bars.items()):
        y = TOP + index * (BAR + BAR_GAP)
        parts.append(_text(BAR_LEFT - 10, y + 15, name, "end"))
        parts.append(
            f'<rect class="c0" x="{BAR_LEFT}" y="{y}" width="{value * scale:.1f}" height="{BAR}"/>'
        )
        parts.append(_text(BAR_LEFT + value * scale + 8, y + 15, number(value)))
    if aim is not None:
        x, end = BAR_LEFT + aim * scale, height - BOTTOM // 2
        parts.append(f'<path class="aim" d="M{x:.1f} {TOP - 6}V{end}"/>')
        parts.append(_text(x, end + 12, f"aim: {number(aim)}", "small middle"))
    return _document(text, height, parts, _listed(text, bars))


def ticks(highest: float) -> list[float]:
    """Return round numbers from 0 to at least almost `highest`, at equal distances."""
    rough = highest / TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * each for each in ROUND if power * each >= rough)
    return [step * each for each in range(math.ceil(highest / step - 1e-9) + 1)]


def number(value: float) -> str:
    """Return a number for a reader: thousands are separated, small ones have a decimal place."""
    text = f"{value:,.1f}" if 0 < abs(value) < SMALL else f"{value:,.0f}"
    return text.removesuffix(".0")


def apart(heights: Mapping[str, float]) -> dict[str, float]:
    """Return heights of names, moved down so that no two names overlap."""
    placed: dict[str, float] = {}
    last = -math.inf
    for name, height in sorted(heights.items(), key=lambda each: each[1]):
        last = placed[name] = max(height, last + LINE_GAP)
    return placed


def _document(text: Text, height: int, parts: Iterable[str], description: str) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'width="{WIDTH}" height="{height}" role="img" aria-labelledby="t d" '
        f'font-family="{FONTS}" font-size="13">'
    )
    return "\n".join(
        (
            head,
            f'<title id="t">{escape(text.title)}</title>',
            f'<desc id="d">{escape(description)}</desc>',
            f"<style>{''.join(_style())}</style>",
            f'<rect class="page" width="{WIDTH}" height="{height}" rx="6"/>',
            _text(16, 26, text.title, "title"),
            *parts,
            "</svg>\n",
        )
    )


def _style() -> Iterator[str]:
    """Yield the rules: colours for a light page, and those for a dark one."""
    yield ".title{font-size:15px;font-weight:600}.small{font-size:12px}"
    yield ".end{text-anchor:end}.middle{text-anchor:middle}"
    yield ".line{fill:none!important;stroke-width:2}.grid,.aim{fill:none}.aim{stroke-dasharray:4 3}"
    yield from _colours(0, page="#ffffff", text="#1f2937", grid="#e5e7eb")
    yield "@media (prefers-color-scheme:dark){"
    yield from _colours(1, page="#161b22", text="#e6edf3", grid="#30363d")
    yield "}"


def _colours(theme: int, *, page: str, text: str, grid: str) -> Iterator[str]:
    yield f".page{{fill:{page}}}text{{fill:{text}}}.grid{{stroke:{grid}}}.aim{{stroke:{text}}}"
    for index, colours in enumerate(COLOURS):
        yield f".c{index}{{fill:{colours[theme]}}}.line.c{index}{{stroke:{colours[theme]}}}"


def _text(x: float, y: float, content: str, classes: str = "") -> str:
    named = f' class="{classes}"' if classes else ""
    return f'<text{named} x="{x:.1f}" y="{y:.1f}">{escape(content)}</text>'


def _described(text: Text, lines: Mapping[str, Points]) -> str:
    """Return the values of a line chart as a sentence for those who do not see it."""
    each = (
        f"{name}: " + ", ".join(f"{number(y)} at {number(x)}" for x, y in sorted(points))
        for name, points in lines.items()
    )
    return f"{text.up}, by {text.across}. " + "; ".join(each) + "."


def _listed(text: Text, bars: Mapping[str, float]) -> str:
    return f"{text.up}. " + "; ".join(f"{name}: {number(value)}" for name, value in bars.items())
