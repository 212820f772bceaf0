"""A rotation as it goes on: a view that moves on a terminal, plain lines elsewhere."""

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

from troth.cli.rotate.wait import End, Sight
from troth.cli.status.track import length
from troth.resources.rotation.spec import CredentialPhase

UNSEEN = "waiting for the operator"
STEPS = {
    CredentialPhase.IDLE: "the credential in use is not yet a new one",
    CredentialPhase.PREPARED: "the new credential reaches those who verify it",
    CredentialPhase.OVERLAPPING: "the new credential is taken into use, the old one is still good",
    CredentialPhase.RETIRING: "the old credential is about to be dropped",
}


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(slots=True)
class Passage:
    """The phases that were seen, each with when it began, and what held the last one up."""

    now: Callable[[], datetime] = _now
    phases: list[tuple[str, datetime]] = field(default_factory=list)
    blockers: tuple[str, ...] = ()

    def take(self, sight: Sight) -> list[str]:
        """Take in what is seen now; return what is new of it, in lines."""
        lines = []
        phase = sight.phase if sight.seen else UNSEEN
        if sight.end is None and (not self.phases or self.phases[-1][0] != phase):
            self.phases.append((phase, self.now()))
            lines.append(_step(phase))
        fresh = [each for each in sight.blockers if each not in self.blockers]
        self.blockers = sight.blockers
        return [*lines, *(f"  waits: {each}" for each in fresh)]


def _step(phase: str) -> str:
    return f"{phase}: {STEPS[CredentialPhase(phase)]}" if phase in set(CredentialPhase) else phase


class View(Protocol):
    """Shows a rotation while its context lasts."""

    def __enter__(self) -> Self:
        """Begin to show."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        """Leave on the screen what there was to see."""

    def show(self, sight: Sight) -> None:
        """Show where the rotation stands now."""

    def trouble(self, sentence: str) -> None:
        """Say why nothing can be seen for now."""


class Lines:
    """A line for everything that happens, with the time of day (UTC)."""

    def __init__(self, console: Console, passage: Passage | None = None) -> None:
        self._console = console
        self._passage = passage or Passage()
        self._said = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def show(self, sight: Sight) -> None:
        """Print what is new."""
        self._said = ""
        for line in self._passage.take(sight):
            self._print(line)

    def trouble(self, sentence: str) -> None:
        """Print a sentence, unless it was the last one."""
        if sentence != self._said:
            self._said = sentence
            self._print(f"{sentence}; trying again")

    def _print(self, line: str) -> None:
        self._console.print(f"{self._passage.now():%H:%M:%S}Z  {line}", markup=False)


class Moving:
    """A table that grows: a row a phase, with when it began and how long it took or takes."""

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
        """Draw the rotation as it is now."""
        self._passage.take(sight)
        self._trouble = ""
        self._over = sight.end is End.DONE
        self._live.refresh()

    def trouble(self, sentence: str) -> None:
        """Draw a sentence below, until something is seen again."""
        self._trouble = f"{sentence}; trying again"

    def drawing(self) -> Group:
        """Return the table as it is now."""
        table = Table.grid(padding=(0, 1))
        phases, now = self._passage.phases, self._passage.now()
        for position, (phase, began) in enumerate(phases):
            last = position == len(phases) - 1
            mark = self._spinner if last and not self._over else Text("✓", "green")
            ended = now if last else phases[position + 1][1]
            table.add_row(mark, f"{began:%H:%M:%S}Z", _step(phase), length(ended - began))
        waits = [Text(f"  waits: {each}", "yellow") for each in self._passage.blockers]
        trouble = [Text(self._trouble, "red")] if self._trouble else []
        return Group(table, *waits, *trouble)


def view(console: Console) -> View:
    """Return the view for where the output goes."""
    return Moving(console) if console.is_terminal else Lines(console)
