"""Progress of a rotation: a live table on a terminal, plain lines elsewhere."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console, Group
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from troth.cli.quoting import quoted
from troth.cli.rotate.wait import End, Sight
from troth.cli.status.track import length
from troth.resources.rotation.spec import CredentialPhase

UNSEEN = "waiting for the operator"
STEPS = {
    CredentialPhase.IDLE: "the old credential is still in use",
    CredentialPhase.PREPARED: "verifiers receive the new credential",
    CredentialPhase.OVERLAPPING: "workloads switch to the new credential; the old one is valid",
    CredentialPhase.RETIRING: "the old credential is about to be removed",
}


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(slots=True)
class Passage:
    """The observed phases with their start times, and the blockers of the last one."""

    now: Callable[[], datetime] = _now
    phases: list[tuple[str, datetime]] = field(default_factory=list)
    blockers: tuple[str, ...] = ()

    def take(self, sight: Sight) -> list[str]:
        """Record an observation; return what is new in it, as lines."""
        lines = []
        phase = sight.phase if sight.seen else UNSEEN
        if sight.end is None and (not self.phases or self.phases[-1][0] != phase):
            self.phases.append((phase, self.now()))
            lines.append(_step(phase))
        fresh = [each for each in sight.blockers if each not in self.blockers]
        self.blockers = sight.blockers
        return [*lines, *(f"  waiting: {each}" for each in fresh)]


def _step(phase: str) -> str:
    return f"{phase}: {STEPS[CredentialPhase(phase)]}" if phase in set(CredentialPhase) else phase


class View(Protocol):
    """Shows a rotation while its context is open."""

    def __enter__(self) -> Self:
        """Start the display."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        """Stop the display and leave its last state on the screen."""

    def show(self, sight: Sight) -> None:
        """Show the current state of the rotation."""

    def trouble(self, sentence: str) -> None:
        """Show why the state cannot be read at present."""


class Lines:
    """Prints a line for each change, with the time of day in UTC."""

    def __init__(self, console: Console, passage: Passage | None = None) -> None:
        self._console = console
        self._passage = passage or Passage()
        self._said = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def show(self, sight: Sight) -> None:
        """Print what changed."""
        self._said = ""
        for line in self._passage.take(sight):
            self._print(line)

    def trouble(self, sentence: str) -> None:
        """Print a problem, unless it repeats the last line."""
        if sentence != self._said:
            self._said = sentence
            self._print(f"{sentence}; retrying")

    def _print(self, line: str) -> None:
        self._console.print(quoted(f"{self._passage.now():%H:%M:%S}Z  {line}"), markup=False)


class Moving:
    """A live table: one row for each phase, with its start time and duration."""

    def __init__(self, console: Console, passage: Passage | None = None) -> None:
        self._passage = passage or Passage()
        self._trouble = ""
        self._over = False
        self._spinner = Spinner("dots", style="cyan")
        self._live = Live(get_renderable=self.drawing, console=console, refresh_per_second=8)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, sight: Sight) -> None:
        """Redraw the table."""
        self._passage.take(sight)
        self._trouble = ""
        self._over = sight.end is End.DONE
        self._live.refresh()

    def trouble(self, sentence: str) -> None:
        """Show a problem below the table until the next observation."""
        self._trouble = f"{sentence}; retrying"

    def drawing(self) -> Group:
        """Return the current table."""
        table = Table.grid(padding=(0, 1))
        phases, now = self._passage.phases, self._passage.now()
        for position, (phase, began) in enumerate(phases):
            last = position == len(phases) - 1
            mark = self._spinner if last and not self._over else Text("✓", "green")
            ended = now if last else phases[position + 1][1]
            table.add_row(mark, f"{began:%H:%M:%S}Z", _step(phase), length(ended - began))
        waits = [Text(quoted(f"  waiting: {each}"), "yellow") for each in self._passage.blockers]
        trouble = [Text(quoted(self._trouble), "red")] if self._trouble else []
        return Group(table, *waits, *trouble)


def view(console: Console) -> View:
    """Return the view that suits the console."""
    return Moving(console) if console.is_terminal else Lines(console)
