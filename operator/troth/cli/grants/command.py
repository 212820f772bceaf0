"""`troth grants`: which identities may publish and consume, and why others may not."""

from collections.abc import Iterable
from typing import Annotated

import typer

from troth.cli.grants.report import Granted, everything_granted
from troth.cli.inputs import sources
from troth.cli.inputs.declared import declared
from troth.cli.inputs.watched import WatchedNamespaces
from troth.cli.output import Output, OutputOption, structured
from troth.cli.quoting import quoted

READ = ("TrustDomain", "ServiceIdentity", "Namespace", "MessageBroker", "TopicPolicy")
HEAD = ("IDENTITY", "ACTION", "TOPIC", "GROUP", "BROKER", "POLICY", "STATE", "REASON")


def grants(
    topic: Annotated[str, typer.Argument(help="Topic name. Defaults to all declared grants.")] = "",
    *,
    files: sources.Files = None,
    kubeconfig: sources.Kubeconfig = None,
    context: sources.Context = None,
    output: OutputOption = Output.TEXT,
    watched_namespaces: WatchedNamespaces = "",
) -> None:
    """List which identities may publish and consume, and what to change for those that may not.

    The command contacts no broker. It shows whether a broker has a grant as the operator last
    observed it.
    """
    world = declared(files, kubeconfig, context, READ, watched_namespaces)
    everything = everything_granted(world)
    found = [each for each in everything if not topic or each.is_about(topic)]
    if output is not Output.TEXT:
        document = {"grants": [each.document() for each in found]}
        typer.echo(structured(document, output), nl=False)
    elif found:
        typer.echo(as_text(found), nl=False)
    else:
        typer.echo(
            f"no grant for {topic} is declared" if topic else "no grants are declared", err=True
        )


def as_text(grants: Iterable[Granted]) -> str:
    """Return grants as a table, each with its message, if any, on the line below."""
    shown = [(_row(each), each.message) for each in grants]
    widths = [
        max(map(len, column)) for column in zip(HEAD, *(row for row, _ in shown), strict=True)
    ]
    lines = [_line(HEAD, widths)]
    for row, message in shown:
        lines.append(_line(row, widths))
        lines += [f"    {quoted(message)}"] if message else []
    return "\n".join(lines) + "\n"


def _row(grant: Granted) -> tuple[str, ...]:
    return (
        str(grant.identity),
        grant.action.value,
        grant.named,
        grant.group,
        str(grant.broker or ""),
        str(grant.policy),
        grant.state.value,
        grant.reason,
    )


def _line(row: tuple[str, ...], widths: list[int]) -> str:
    cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
    return "  ".join(cells).rstrip()
