"""What a person sees: a line a step, then tables. As readable in a log as on a terminal."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn
from rich.rule import Rule
from rich.table import Table

from sandbox.demo.policies import Summary
from sandbox.demo.shop import Place
from sandbox.demo.tampering import Repair
from sandbox.demo.trials import Result

WIDTH = 100


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

    @contextmanager
    def step(self, what: str) -> Iterator[Callable[[str], None]]:
        """Show that something goes on, and then that it is done, with what is said of it."""
        said: list[str] = []
        began = time.monotonic()
        with self.console.status(what):
            yield said.append
        self._done(what, said, began)

    @contextmanager
    def progress(
        self, what: str
    ) -> Iterator[tuple[Callable[[int, int], None], Callable[[str], None]]]:
        """As `step`, with a bar; yields how far it is, to be called with a part and a whole."""
        said: list[str] = []
        began = time.monotonic()
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(30),
            MofNCompleteColumn(),
        )
        if self.console.is_terminal:
            with Progress(*columns, console=self.console, transient=True) as bar:
                task = bar.add_task(what, total=None)
                yield lambda part, whole: bar.update(task, completed=part, total=whole), said.append
        else:
            yield lambda _part, _whole: None, said.append
        self._done(what, said, began)

    def _done(self, what: str, said: list[str], began: float) -> None:
        line = Table.grid(padding=(0, 1), expand=True)
        line.add_column(width=1)
        line.add_column(width=18)
        line.add_column(ratio=1)
        line.add_column(justify="right", style="dim")
        seconds = f"{time.monotonic() - began:.1f} s"
        line.add_row("[green]✓", what, escape(" ".join(said)), seconds)
        self.console.print(line)

    def results(self, results: Iterable[Result]) -> None:
        """Show trials as a table; what was unexpected is shown in full beneath."""
        table = Table.grid(padding=(0, 2, 0, 0))
        table.add_column(width=34)
        table.add_column(width=28)
        table.add_column()
        faults = []
        for result in results:
            mark = "[bold red]✗[/]" if result.unexpected else "[green]✓[/]"
            outcome = "[bold red]WRONG" if result.unexpected else escape(result.outcome)
            who = _between(result.caller, result.callee)
            table.add_row(f"{mark} {who}", escape(result.what), outcome)
            if result.unexpected:
                faults.append(f"{result.caller} → {result.callee}, {result.what}:")
                faults.append(f"  expected {result.outcome}; {result.unexpected}")
        self.console.print(table)
        for fault in faults:
            self.console.print(fault, style="red", markup=False)

    def policies(self, summaries: Iterable[Summary], observed: Iterable[Place]) -> None:
        """Show NetworkPolicies in words."""
        table = Table.grid(padding=(0, 2, 0, 0))
        for heading in ("workload", "reached by", "reaches"):
            table.add_column(no_wrap=heading == "workload")
        table.add_row(*(f"[dim]{text}" for text in ("workload", "may be reached by", "may reach")))
        for summary in summaries:
            table.add_row(
                _short(str(summary.workload)),
                escape(", ".join(summary.inbound)) or "[dim]nobody",
                escape(", ".join(summary.outbound)) or "[dim]nobody",
            )
        for place in observed:
            table.add_row(_short(str(place)), "[dim]Observe: no policy is written yet", "")
        self.console.print(table)

    def waiting(self, place: Place, peer: str, state: str, message: str) -> None:
        """Show an edge that is not live."""
        who = _between(str(place), peer)
        self.console.print(f"[yellow]…[/] {who}  [bold]{state}[/]: {escape(message)}")

    def repair(self, repair: Repair) -> None:
        """Show an edit by hand and its repair."""
        self.console.print(
            f"  $ kubectl patch networkpolicy {repair.policy.name} -n {repair.policy.namespace} …"
            "    [dim]adds a rule that lets everybody in"
        )
        self.console.print(
            f"[green]✓[/] put right after [bold]{repair.milliseconds:.0f} ms[/]; an Event tells:"
        )
        self.console.print(f"  {escape(repair.note)}", style="italic", soft_wrap=True)

    def say(self, text: str) -> None:
        """Write a paragraph; it may carry rich's markup."""
        self.console.print(text)


def _short(place: str) -> str:
    """Return a place as the shop's people say it: their own namespace goes without saying."""
    return escape(place.removeprefix("shop/"))


def _between(caller: str, callee: str) -> str:
    """Return who calls whom; the callee's namespace is left out where it is the caller's."""
    namespace = caller.partition("/")[0] if "/" in caller else "shop"
    return f"{_short(caller)} [dim]→[/] {escape(callee.removeprefix(namespace + '/'))}"
