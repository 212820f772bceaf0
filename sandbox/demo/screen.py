"""The demo's output: a line for each step, then tables. Readable in a log as on a terminal."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn
from rich.rule import Rule
from rich.table import Table

from sandbox.demo.trials import Result

WIDTH = 100
RIGHT, WRONG = "[green]✓[/]", "[bold red]✗[/]"
NOT_REACHED = "·"
REJECTED = "rejected"
QUIET = (NOT_REACHED, "no scopes")
BELOW = (0, 0, 0, 4)


class Screen:
    """Writes to standard output."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False)
        if not self.console.is_terminal or self.console.width > WIDTH:
            self.console.width = WIDTH

    def title(self, text: str) -> None:
        """Open a part."""
        self.console.print()
        self.console.print(Rule(f"[bold]{escape(text)}", align="left", style="dim"))

    def say(self, text: str) -> None:
        """Write a paragraph; it may carry rich's markup."""
        self.console.print(text)

    def explain(self, text: str) -> None:
        """Write a sentence below a title."""
        self.console.print(Padding(escape(text), (0, 0, 0, 2), expand=False))

    def command(self, text: str) -> None:
        """Write a command as a person types it."""
        self.console.print(f"  $ {escape(text)}", style="bold")

    def quote(self, text: str) -> None:
        """Show the output of a command as it is."""
        lines = (line.rstrip() for line in text.splitlines())
        self.console.print("\n".join(lines), markup=False, soft_wrap=True, style="dim")

    @contextmanager
    def step(self, name: str) -> Iterator[Callable[[str], None]]:
        """Show a step and how long it takes; the yielded function adds what it did."""
        said: list[str] = []
        began = time.monotonic()
        with self.console.status(name):
            yield said.append
        self.line(name, " ".join(said), time.monotonic() - began)

    @contextmanager
    def progress(
        self, name: str
    ) -> Iterator[tuple[Callable[[int, int], None], Callable[[str], None]]]:
        """Show a step as `step` does, with a bar; yields its update too, by part and whole."""
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(30),
            MofNCompleteColumn(),
        )
        said: list[str] = []
        began = time.monotonic()
        if self.console.is_terminal:
            with Progress(*columns, console=self.console, transient=True) as bar:
                task = bar.add_task(name, total=None)
                yield lambda part, whole: bar.update(task, completed=part, total=whole), said.append
        else:
            yield lambda _part, _whole: None, said.append
        self.line(name, " ".join(said), time.monotonic() - began)

    def line(self, name: str, text: str, seconds: float, *, wrong: bool = False) -> None:
        """Show that a step is done."""
        line = Table.grid(padding=(0, 1), expand=True)
        line.add_column(width=1)
        line.add_column(width=18)
        line.add_column(ratio=1)
        line.add_column(justify="right", style="dim")
        line.add_row(WRONG if wrong else RIGHT, name, escape(text), f"{seconds:.1f} s")
        self.console.print(line)

    def trials(self, results: Sequence[Result], *headings: str) -> bool:
        """Show trials, each with its quote or fault below it; return whether all are right."""
        widths = [
            max(map(cell_len, column))
            for column in zip(headings, *map(_texts, results), strict=True)
        ]
        widths = [each + (sum(widths) + 2 * len(widths) <= WIDTH) for each in widths]
        self.console.print(_row(widths, " ", *(f"[dim]{each}" for each in headings)))
        previous: tuple[str, ...] = ("", "")
        for result in results:
            actor, action, *cells = _texts(result)
            who = "" if actor == previous[0] else actor
            what = "" if (actor, action) == previous else action
            cells = [*map(_coloured, cells)]
            if result.is_wrong:
                cells[-1] = "[bold red]WRONG"
            mark = WRONG if result.is_wrong else RIGHT
            self.console.print(_row(widths, mark, escape(who), escape(what), *cells))
            if result.is_wrong:
                self._below(f"[red]{escape(result.fault)}")
            if result.observation.quote:
                self._below(f"[italic dim]{escape(result.observation.quote)}")
            previous = actor, action
        return not any(result.is_wrong for result in results)

    def table(self, rows: Iterable[Sequence[str]], *headings: str) -> None:
        """Show a table of text."""
        table = Table.grid(padding=(0, 2, 0, 0))
        for number in range(len(headings)):
            table.add_column(no_wrap=number == 0)
        table.add_row(*(f"[dim]{each}" for each in headings))
        for row in rows:
            table.add_row(*map(escape, row))
        self.console.print(table)

    def _below(self, text: str) -> None:
        self.console.print(Padding(text, BELOW, expand=False))


def _texts(result: Result) -> tuple[str, ...]:
    """Return a row's cells; the last says how soon, if the trial follows a change."""
    trial, (*cells, last) = result.trial, result.observation.cells
    soon = f" after {result.seconds * 1000:.0f} ms" if trial.within and result.seconds else ""
    return trial.actor, trial.action, *cells, last + soon


def _row(widths: Sequence[int], mark: str, *cells: str) -> Table:
    row = Table.grid(padding=(0, 1, 0, 0))
    row.add_column(width=1)
    for width in widths[:-1]:
        row.add_column(width=width)
    row.add_column(no_wrap=True)
    row.add_row(mark, *cells)
    return row


def _coloured(text: str) -> str:
    if REJECTED in text or text[:1] in "45":
        return f"[yellow]{escape(text)}"
    return f"[dim]{text}" if text in QUIET else escape(text)
