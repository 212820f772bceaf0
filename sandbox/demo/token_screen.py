"""What a person sees of tokens: who calls on whose behalf, what is refused, what is taken back."""

from collections.abc import Iterable, Sequence

from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from sandbox.demo.posing import Answered
from sandbox.demo.revoking import CALLEE, CALLER, WITHIN, Revocation
from sandbox.demo.screen import Screen, between, verdict
from sandbox.demo.token_trials import Passed, Tried

INDENT = (0, 0, 0, 4)


def hops(screen: Screen, passed: Sequence[Passed]) -> None:
    """Show what each callee of an order was told."""
    table = Table.grid(padding=(0, 2, 0, 0))
    headings = ("  caller → callee", "its token", "on behalf of", "the transaction is for")
    table.add_row(*(f"[dim]{text}" for text in headings))
    for each in passed:
        told = each.told
        table.add_row(
            f"{'[bold red]✗[/]' if each.is_wrong else '[green]✓[/]'} {between(each.hop)}",
            escape(" ".join(told["scopes"])),
            "[bold red]WRONG" if each.is_wrong else escape(f"{told['subject']}, {told['tenant']}"),
            escape(" ".join(told["transaction"])),
        )
    screen.console.print(table)
    for each in passed:
        if each.is_wrong:
            fault = f"{each.hop.callee} was told {each.told}, expected {each.expected}"
            screen.console.print(fault, style="red", markup=False)
    requests = {each.told["request"] for each in passed}
    screen.console.print(f"  the request's ID at every hop: {', '.join(map(str, requests))}")


def attempts(screen: Screen, tried: Iterable[Tried]) -> None:
    """Show what was tried and what it was answered with; beneath it the reason."""
    screen.console.print(_row(*(f"[dim]{text}" for text in HEADINGS)))
    previous = ""
    for each in tried:
        who, answer = between(each.attempt), each.answer
        mark = "[bold red]✗[/]" if each.is_wrong else "[green]✓[/]"
        said = f"{answer.status} {answer.code}" if answer.code else f"{answer.status}"
        screen.console.print(
            _row(
                f"{mark} {'' if who == previous else who}",
                escape(each.attempt.about),
                "[bold red]WRONG" if each.is_wrong else f"[yellow]{said}" if answer.code else said,
            )
        )
        if each.is_wrong:
            fault = f"expected {each.attempt.status} {each.attempt.code}; seen: {said}"
            screen.console.print(
                Padding(f"[red]{fault} {escape(str(answer.told))}", INDENT, expand=False)
            )
        else:
            screen.console.print(
                Padding(f"[italic dim]{escape(reason(answer))}", INDENT, expand=False)
            )
        previous = who


HEADINGS = ("  caller → callee", "what it sends", "answer")
WIDTHS = (28, 46)


def _row(*cells: str) -> Table:
    row = Table.grid(padding=(0, 1, 0, 0))
    for width in WIDTHS:
        row.add_column(width=width)
    row.add_column(no_wrap=True)
    row.add_row(*cells)
    return row


def reason(answer: Answered) -> str:
    """Return why a request was refused, or what counted where it was not."""
    if answer.code:
        return answer.sentence
    told = answer.told
    counted = f"{told['subject']} of {told['tenant']}, as the transaction says"
    return f"The application is told of {counted}; the header does not reach it."


def revocation(screen: Screen, found: Revocation) -> None:
    """Show what became of an edge that was taken back."""
    say = screen.console.print
    say(f"  {CALLEE} accepts {CALLER.name} no more: somebody removes its entry from `accepts`.")
    if found.issuer_is_wrong:
        say(f"{verdict(1)} the issuer did not refuse a token for it within {WITHIN:.0f} s")
    else:
        say(
            f"{verdict(0)} the issuer gives {CALLER.name} no token for it any more, "
            f"[bold]{found.issuer * 1000:.0f} ms[/] later:"
        )
    say(Padding(f"[italic dim]{escape(found.error)}", INDENT, expand=False))
    held = f"the one that {CALLER.name} still has"
    if found.callee_is_wrong:
        say(f"{verdict(1)} {CALLEE.name} takes {held}: {found.held.status} {found.held.code}")
    else:
        say(
            f"{verdict(0)} {CALLEE.name} refuses {held}, "
            f"{found.callee * 1000:.0f} ms later: [yellow]{found.held.status} {found.held.code}"
        )
