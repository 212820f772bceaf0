"""What a person sees: a line a step, then tables. As readable in a log as on a terminal."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn
from rich.rule import Rule
from rich.table import Table

from sandbox.demo.cast import VISITORS
from sandbox.demo.judging import NOT_REACHED, Result
from sandbox.demo.policies import Summary
from sandbox.demo.rotating import BEFORE, COMMAND, Replacement, Span
from sandbox.demo.sampling import Samples
from sandbox.demo.shop import Place
from sandbox.demo.tampering import Repair
from sandbox.demo.trials import Trial
from sandbox.node.workload import Tally

WIDTH = 100
MOST_FAULTS = 10  # in full; where everything is wrong nobody reads them all


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
        self._line("[green]✓", what, " ".join(said), time.monotonic() - began)

    def _line(self, mark: str, what: str, said: str, seconds: float) -> None:
        line = Table.grid(padding=(0, 1), expand=True)
        line.add_column(width=1)
        line.add_column(width=18)
        line.add_column(ratio=1)
        line.add_column(justify="right", style="dim")
        line.add_row(mark, what, escape(said), f"{seconds:.1f} s")
        self.console.print(line)

    def results(
        self,
        results: Sequence[Result],
        others: Sequence[Result] = (),
        *,
        filtered: bool,
        heading: str = "declared",
    ) -> None:
        """Show trials as a table, `others` as one line of it; what is wrong in full beneath.

        Where packets are not `filtered`, there is nothing to say of them.
        """
        table = Table.grid(padding=(0, 2, 0, 0))
        layers = ["packets", "handshake", "scope, or why refused"]
        headings = ["  caller → callee", heading, *(layers if filtered else layers[1:])]
        table.add_row(*(f"[dim]{text}" for text in headings))
        previous = ""
        for result in results:
            who = between(result.trial)
            table.add_row(*_cells("" if who == previous else who, result, filtered=filtered))
            previous = who
        wrong = [result for result in others if result.is_wrong]
        if others:
            count = f"{len(wrong)} of {len(others)}" if wrong else f"{len(others)}"
            who = f"every other pair [dim]({count})[/]"
            table.add_row(*_cells(who, *wrong[:1] or others[:1], filtered=filtered))
        self.console.print(table)
        self._faults([*results, *wrong])

    def _faults(self, results: Iterable[Result]) -> None:
        wrong = [result for result in results if result.is_wrong]
        for result in wrong[:MOST_FAULTS]:
            self.console.print(_fault(result), style="red", markup=False)
        if more := wrong[MOST_FAULTS:]:
            self.console.print(f"and {len(more)} more", style="red")

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
        self.console.print(
            f"[yellow]…[/] {_short(str(place))} [dim]→[/] {_short(peer)}  [bold]{state}[/]:\n"
            f"  {escape(message)}"
        )

    def repair(self, repair: Repair) -> None:
        """Show an edit by hand and its repair."""
        self.console.print(
            f"  Somebody adds a rule to the NetworkPolicy {repair.policy} that lets everybody in."
        )
        self.console.print(
            f"[green]✓[/] put right within [bold]{repair.milliseconds:.0f} ms[/]; an Event tells:"
        )
        self.console.print(f"  {escape(repair.note)}", style="italic", soft_wrap=True)

    def samples(self, trial: Trial, samples: Samples, passed: Sequence[Result]) -> None:
        """Show what became of calls made meanwhile; those that `passed` the filter were judged."""
        wrong = [result for result in passed if result.is_wrong]
        lost = f", {samples.lost} not answered" if samples.lost else ""
        let_in = f", {len(passed)} by {trial.callee.name}" if passed else ""
        self.console.print(
            f"{verdict(wrong)} {between(trial)}, {len(samples.outcomes)} calls meanwhile: "
            f"{samples.rejected} refused by the packet filter{lost}{let_in}"
        )
        if passed and not wrong:
            self.console.print(
                f"  packets passed for {samples.milliseconds:.0f} ms, "
                f"and the handshake refused them: {passed[0].scope}"
            )
        self._faults(wrong)

    def afterwards(self, result: Result) -> None:
        """Show what became of a call after all was put right."""
        wrong = [result] if result.is_wrong else []
        self.console.print(
            f"{verdict(wrong)} {between(result.trial)}, once more afterwards: "
            f"packets {result.packets}"
        )
        self._faults(wrong)

    def span(self, span: Span) -> None:
        """Show what became of calls in one phase of a rotation."""
        mark = "[bold red]✗" if span.tally.failed else "[green]✓"
        self._line(mark, span.phase, _counted(span.tally), span.seconds)
        if span.phase == BEFORE:
            self.console.print(f"  $ troth {' '.join(COMMAND)}", style="bold")

    def crash(self, lease: str) -> None:
        """Show that the operator is killed."""
        self.console.print(
            f"  The operator is killed. Another one goes on when its lease is over: {lease} here."
        )

    def replacement(self, replacement: Replacement) -> None:
        """Show what became of a whole rotation."""
        tally = replacement.tally
        self.console.print(
            f"{verdict(tally.failures)} [bold]{_counted(tally)}[/], {replacement.rate:.0f} a "
            f"second; {replacement.across} were between an old certificate and a new one"
        )
        for failure in dict.fromkeys(map(str, tally.failures)):
            self.console.print(f"  {failure}", style="red", markup=False)
        believed = len(replacement.late) - replacement.refused
        self.console.print(
            f"{verdict(believed)} each shows the next its old certificate: "
            f"{replacement.refused} of {len(replacement.late)} refused"
            + ("" if believed else "; the old root verifies nowhere")
        )

    def say(self, text: str) -> None:
        """Write a paragraph; it may carry rich's markup."""
        self.console.print(text)


def _short(place: str) -> str:
    """Return a place as the shop's people say it: their own namespace goes without saying."""
    return escape(place.removeprefix("shop/"))


class Call(Protocol):
    """Whatever is a call by somebody of somebody."""

    @property
    def caller(self) -> Place:
        """Who calls."""

    @property
    def callee(self) -> Place:
        """Who is called."""


def between(call: Call) -> str:
    """Return who calls whom; the callee's namespace is left out where it is the caller's."""
    caller, callee = call.caller, call.callee
    here = "shop" if caller in VISITORS else caller.namespace
    who = VISITORS.get(caller) or _short(str(caller))
    whom = callee.name if callee.namespace in {here, ""} else str(callee)
    return f"{who} [dim]→[/] {escape(whom)}"


def _counted(tally: Tally) -> str:
    return f"{tally.calls} handshakes, {tally.failed} failed"


def verdict(wrong: Sequence[object] | int) -> str:
    """Return how a line begins that says whether anything was wrong."""
    return "[bold red]✗ WRONG[/]" if wrong else "[green]✓[/]"


def _cells(who: str, result: Result, *, filtered: bool) -> tuple[str, ...]:
    """Return a row: who calls whom, what was declared, and what happened at each layer."""
    mark = "[bold red]✗[/]" if result.is_wrong else "[green]✓[/]"
    layers = (result.packets, result.handshake, result.scope)
    cells = [_coloured(each) for each in (layers if filtered else layers[1:])]
    if result.is_wrong:
        cells[-1] = "[bold red]WRONG"
    about = "" if not who and result.trial.refusal is None else result.trial.about
    return f"{mark} {who}", escape(about), *cells


def _coloured(what: str) -> str:
    if what.endswith("refused"):
        return f"[yellow]{escape(what)}"
    return f"[dim]{what}" if what in {NOT_REACHED, "no scopes"} else escape(what)


def _fault(result: Result) -> str:
    trial, outcome = result.trial, result.outcome
    seen = " ".join(filter(None, (str(outcome), outcome.detail, outcome.server)))
    scopes = f", scopes {', '.join(outcome.scopes)}" if outcome.scopes else ""
    return (
        f"{trial.caller} → {trial.callee} on {trial.port}, {trial.about}:\n"
        f"  expected {result.expected}; seen: {seen}{scopes}"
    )
