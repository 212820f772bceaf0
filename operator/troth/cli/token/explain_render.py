"""Renders `troth token explain` as text with file lines, or as JSON."""

from collections.abc import Iterator
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from troth.cli.inputs.sources import Manifests
from troth.cli.quoting import quoted
from troth.cli.token.explain import Explanation, ScopeExplanation
from troth.resources.faults import path
from troth.resources.identity.status import EdgeState
from troth.trust.edges.scopes import Entry

IDENTITY = "ServiceIdentity"


def show(console: Console, explanation: Explanation, lines: Manifests) -> None:
    """Print the scopes of a token and their origin, or why no token is issued."""
    verdict = ("a token", "green") if explanation.issued else ("no token", "red")
    title = f"{explanation.caller} → {explanation.callee}"
    console.print(Text.assemble((title, "bold"), "  ", verdict))
    for line in _head(explanation):
        console.print(Padding(line, (0, 0, 0, 2), expand=False))
    for explained in explanation.scopes:
        console.print(Padding(_scope(explained, explanation, lines), (0, 0, 0, 2), expand=False))


def document(explanation: Explanation, lines: Manifests) -> dict[str, Any]:
    """Return the explanation as JSON."""
    return {
        "caller": str(explanation.caller),
        "callee": str(explanation.callee),
        "issued": explanation.issued,
        **explanation.facts,
        "edges": [
            {"port": edge.port, "state": edge.state.value}
            | ({"reason": edge.reason, "message": edge.message} if edge.reason else {})
            for edge in explanation.edges
        ],
        "scopes": [
            {
                "scope": explained.scope,
                "held": explained.held and explanation.issued,
                "ports": list(explained.ports),
                "given": [_place(entry, explained.scope, lines) for entry in explained.given],
                "asked": [_place(entry, explained.scope, lines) for entry in explained.asked],
            }
            | ({"missing": explained.missing} if explained.missing else {})
            for explained in explanation.scopes
        ],
    }


def _place(entry: Entry, scope: str, lines: Manifests) -> dict[str, str]:
    steps = entry.steps(scope)
    line = lines.line(IDENTITY, entry.speaker, steps)
    place = {"resource": f"{IDENTITY} {entry.speaker}", "path": path(steps)}
    return place | ({"line": line} if line else {})


def _head(explanation: Explanation) -> Iterator[RenderableType]:
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    if explanation.issued:
        for name, value in explanation.facts.items():
            table.add_row(name, Text(value))
    for edge in explanation.edges:
        live = edge.state is EdgeState.LIVE
        said = edge.state.value if live else f"{edge.state.value}: {edge.reason}: {edge.message}"
        table.add_row(f"port {edge.port}", Text(said, "green" if live else "yellow"))
    if table.row_count:
        yield table
    if any(edge.state is EdgeState.SUSPENDED for edge in explanation.edges):
        yield Text("until that is fixed, the issuer keeps issuing what it issued before", "yellow")
    if not explanation.edges:
        yield Text("neither declares the other, so there is no edge between them", "yellow")
    elif not explanation.takes_tokens:
        yield Text(
            f"NotTokenPattern: {explanation.callee} accepts no tokens; it grants scopes to the "
            "caller's certificate. To use tokens, set spec.authentication.token there",
            "yellow",
        )


def _scope(
    explained: ScopeExplanation, explanation: Explanation, lines: Manifests
) -> RenderableType:
    if explanation.issued and explained.held:
        title = Text.assemble(
            ("✓ ", "green"), (explained.scope, "bold"), f"  on {', '.join(explained.ports)}"
        )
    elif explained.missing:
        title = Text.assemble(
            ("✗ ", "red"), (explained.scope, "bold"), f"  withheld: {explained.missing}"
        )
    else:
        title = Text.assemble(("· ", "dim"), (explained.scope, "bold"))
    table = Table.grid(padding=(0, 2))
    for word, entries in (("granted", explained.given), ("requested", explained.asked)):
        for entry in entries:
            table.add_row(word, *_shown(entry, entry.steps(explained.scope), lines))
    if explained.mend is not None:
        table.add_row("add to", *_shown(explained.mend, (*explained.mend.steps(), "scopes"), lines))
    return Group(title, Padding(table, (0, 0, 0, 4), expand=False))


def _shown(entry: Entry, steps: tuple[str | int, ...], lines: Manifests) -> tuple[Text, Text]:
    line = lines.line(IDENTITY, entry.speaker, steps)
    where = Text(quoted(line or f"{IDENTITY} {entry.speaker}"), overflow="fold")
    return where, Text(path(steps), "dim")
