"""What a person sees of webhooks: what is sent, what becomes of it, and the gateway's own line."""

from collections.abc import Iterable

from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from sandbox.demo.screen import Screen, verdict
from sandbox.demo.webhook_stage import Endpoint
from sandbox.demo.webhook_trials import COMMAND, Passed, Tried, Turned

INDENT = (0, 0, 0, 4)
WIDTHS = (30, 43)


def deliveries(screen: Screen, tried: Iterable[Tried]) -> None:
    """Show what was sent and what became of it; beneath it the line, as the gateway wrote it."""
    screen.console.print(
        _row("[dim]  sender → endpoint", "[dim]what it sends", "[dim]and what comes of it")
    )
    previous = ""
    for each in tried:
        who = each.attempt.between
        screen.console.print(
            _row(
                f"{_mark(each.is_wrong)} {'' if who == previous else who}",
                escape(each.attempt.about),
                _result(each),
            )
        )
        line(screen, each)
        previous = who


def passed(screen: Screen, each_passed: Iterable[Passed]) -> None:
    """Show what came past the gateway, and why the target refused it."""
    for each in each_passed:
        said = f"{each.answer.status} {each.answer.code}"
        screen.console.print(
            _row(
                f"{_mark(each.is_wrong)} {each.caller.name} [dim]→[/] {each.callee.name}",
                escape(each.about),
                "[bold red]WRONG" if each.is_wrong else f"[yellow]{said}",
            )
        )
        if each.is_wrong:
            fault = f"expected 403 {each.code}; seen: {said}"
            screen.console.print(Padding(f"[red]{escape(fault)}", INDENT, expand=False))
        _quote(screen, each.answer.sentence)


def turned(screen: Screen, endpoint: Endpoint, found: Turned) -> None:
    """Show how soon a second key counted."""
    say = screen.console.print
    secret = endpoint.secret
    say(f"  $ {escape(COMMAND.format(name=secret.name, namespace=secret.namespace))}", style="bold")
    say(
        f"{verdict(found.new.is_wrong)} {found.new.attempt.about}, [bold]"
        f"{found.seconds * 1000:.0f} ms[/] after the command began: {_result(found.new)}"
    )
    line(screen, found.new)
    say(f"{verdict(found.old.is_wrong)} {found.old.attempt.about}: {_result(found.old)}")


def line(screen: Screen, tried: Tried) -> None:
    """Show the line of a delivery, and what is wrong with it."""
    if tried.is_wrong:
        attempt = tried.attempt
        expected = f"{attempt.status} {attempt.reason or attempt.endpoint.workflow}"
        fault = f"expected {expected}; seen: {tried.answer}"
        screen.console.print(Padding(f"[red]{escape(fault)}", INDENT, expand=False))
    _quote(screen, tried.line)


def _result(tried: Tried) -> str:
    if tried.is_wrong:
        return "[bold red]WRONG"
    text = escape(tried.answer)
    return f"[yellow]{text}" if tried.attempt.reason else text


def _mark(wrong: object) -> str:
    return "[bold red]✗[/]" if wrong else "[green]✓[/]"


def _quote(screen: Screen, text: str) -> None:
    screen.console.print(Padding(f"[italic dim]{escape(text)}", INDENT, expand=False))


def _row(*cells: str) -> Table:
    row = Table.grid(padding=(0, 1, 0, 0))
    for width in WIDTHS:
        row.add_column(width=width)
    row.add_column(no_wrap=True)
    row.add_row(*cells)
    return row
