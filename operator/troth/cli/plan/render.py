"""Prints a preview as text."""

from collections.abc import Iterable

from rich.console import Console
from rich.text import Text

from troth.cli.evaluation.render import STYLES
from troth.cli.plan.differences import Difference
from troth.cli.plan.preview import Preview

_STYLES = {"+": "green", "-": "red", "~": "yellow", "@": "cyan"}


def show(console: Console, found: Preview) -> None:
    """Print what changes and what needs attention."""
    for difference in found.differences:
        _show_difference(console, difference)
    brokers = found.at_brokers
    for title, lines, style in (
        ("Edges to open", found.opened, "green"),
        ("Edges to close", found.closed, "red"),
        ("Grants to add", brokers.begin, "green"),
        ("Grants to revoke", brokers.end, "red"),
        ("Credentials to issue", () if "Secret" in found.hidden else brokers.credentials, "green"),
    ):
        _show_list(console, title, ((line, style) for line in lines))
    attention = [
        *((each.line_of_text(), STYLES[each.severity]) for each in found.report.findings),
        *((line, "yellow") for line in brokers.attention),
    ]
    _show_list(console, "Needs attention", attention)
    console.print(
        f"{found.count('+')} to add, {found.count('~')} to change, {found.count('-')} to remove",
        style="bold",
    )


def _show_difference(console: Console, difference: Difference) -> None:
    """Print a difference with one call, because each call costs more than its line."""
    title = f"{difference.sign} {difference.kind} {difference.ref}"
    lines = ((f"\n    {line}", _STYLES.get(line[:1], "dim")) for line in difference.lines)
    console.print(Text.assemble((title, f"bold {_STYLES[difference.sign]}"), *lines))


def _show_list(console: Console, title: str, lines: Iterable[tuple[str, str]]) -> None:
    """Print lines with their styles below a title; nothing if there are none."""
    for position, (line, style) in enumerate(lines):
        if position == 0:
            console.print(title, style="bold")
        console.print(f"    {line}", style=style, markup=False)
