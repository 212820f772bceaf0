"""What a person sees of messages: what passes, what the broker refuses, what ends with a policy."""

from collections.abc import Iterable

from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from sandbox.demo.message_ending import DELETE, WITHIN, Ending
from sandbox.demo.message_trials import GROUP, Done
from sandbox.demo.screen import Screen, verdict

INDENT = (0, 0, 0, 4)
WIDTHS = (12, 48)


def done(screen: Screen, each_done: Iterable[Done]) -> None:
    """Show what services did, and what the broker answered."""
    screen.console.print(_row("[dim]  service", "[dim]what it does", "[dim]and what comes of it"))
    previous = ""
    for each in each_done:
        who = each.deed.service.name
        result = "[bold red]WRONG" if each.is_wrong else escape(each.answer.words)
        screen.console.print(_row(_who(each, who, previous), escape(each.deed.about), result))
        _fault(screen, each)
        previous = who


def judged(screen: Screen, fault: str) -> None:
    """Show how the consumer judges messages by what it is told of them."""
    if fault:
        screen.console.print(
            f"{verdict(1)} {GROUP}'s identity.json does not tell it apart: {escape(fault)}"
        )
    else:
        screen.console.print(
            f"  {GROUP}'s identity.json has the policy's schema: by that it tells them apart."
        )


def refused(screen: Screen, each_refused: Iterable[Done]) -> None:
    """Show what services tried, and beneath it the broker's refusal, in its own words."""
    previous = ""
    for each in each_refused:
        who = each.deed.service.name
        result = "[bold red]WRONG" if each.is_wrong else "[yellow]refused"
        screen.console.print(_row(_who(each, who, previous), escape(each.deed.about), result))
        if each.is_wrong:
            _fault(screen, each)
        else:
            _quote(screen, each.answer.words)
        previous = who


def ending(screen: Screen, found: Ending) -> None:
    """Show what became of a policy that was deleted."""
    say = screen.console.print
    who = found.login.deed.service.name
    say(f"  $ kubectl {' '.join(DELETE)}", style="bold")
    if found.open_is_wrong:
        say(f"{verdict(1)} what {who} has open still works {WITHIN:.0f} s later")
    else:
        say(
            f"{verdict(0)} {who}'s open {found.how} "
            f"[bold]{found.seconds * 1000:.0f} ms[/] after the command began"
            + (":" if found.ended.words else "")
        )
        if found.ended.words:
            _quote(screen, found.ended.words)
    say(f"{verdict(found.login.is_wrong)} {who} {found.login.deed.about}: {_answer(found.login)}")
    _quote(screen, found.login.answer.words)
    left = ", ".join(found.left)
    say(
        f"{verdict(1)} still there: {left}"
        if left
        else f"{verdict(0)} the policy is gone, and so is the Secret {who}-main"
    )


def _answer(each: Done) -> str:
    return "[yellow]refused" if each.answer.refused else "let in"


def _who(each: Done, who: str, previous: str) -> str:
    mark = "[bold red]✗[/]" if each.is_wrong else "[green]✓[/]"
    return f"{mark} {'' if who == previous else who}"


def _quote(screen: Screen, words: str) -> None:
    screen.console.print(Padding(f"[italic dim]{escape(words)}", INDENT, expand=False))


def _fault(screen: Screen, each: Done) -> None:
    if each.is_wrong:
        expected = (
            f"a refusal, {each.pattern}" if each.deed.refusal else each.deed.message or "done"
        )
        seen = "refused: " if each.answer.refused else ""
        text = f"expected {expected}; seen: {seen}{each.answer.words}"
        screen.console.print(Padding(f"[red]{escape(text)}", INDENT, expand=False))


def _row(*cells: str) -> Table:
    row = Table.grid(padding=(0, 1, 0, 0))
    for width in WIDTHS:
        row.add_column(width=width)
    row.add_column(no_wrap=True)
    row.add_row(*cells)
    return row
