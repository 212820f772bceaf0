"""Tables of a round: its plan, and its proofs."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from troth.audit.proving.probe import PROBER, Plan
from troth.cli.prove.round import Proven
from troth.cli.quoting import quoted
from troth.resources.reported import ProofResult

_STYLES = {
    ProofResult.PROVEN: "green",
    ProofResult.DISPROVEN: "bold red",
    ProofResult.INCONCLUSIVE: "yellow",
}


def show_plan(console: Console, plan: Plan) -> None:
    """Show the probes that a round would make."""
    table = _table("CALLEE", "PORT", "PROBE", "CALLER", "EXPECTED", "LAYER")
    for each in plan.probes:
        table.add_row(
            str(each.target.callee),
            each.target.port,
            each.name.value,
            str(each.caller or PROBER),
            each.expectation.value,
            each.layer.value,
        )
    console.print(table)


def show_proofs(console: Console, proven: Proven) -> None:
    """Show the proofs of a round, and how many there are of each result."""
    table = _table("CALLEE", "PORT", "PROBE", "CALLER", "RESULT", "LAYER", "EVIDENCE")
    counts = dict.fromkeys(ProofResult, 0)
    for callee, proofs in proven.proofs.items():
        for each in proofs:
            counts[each.result] += 1
            table.add_row(
                str(callee),
                each.port,
                each.probe,
                quoted(each.peer),
                Text(each.result.value, style=_STYLES[each.result]),
                each.layer.value if each.layer else "",
                quoted(each.evidence),
            )
    console.print(table)
    summary = ", ".join(f"{count} {result.value}" for result, count in counts.items())
    console.print(f"{summary}; seed {proven.seed}")


def _table(*names: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in names:
        table.add_column(name, overflow="fold")
    return table
