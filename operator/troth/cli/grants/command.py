"""`troth grants`: who may publish to a topic, who may consume it, and why somebody may not."""

import json
from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated

import typer

from troth.cli.grants.report import Granted, everything_granted
from troth.cli.inputs import sources
from troth.cli.inputs.declared import declared
from troth.cli.quoting import quoted

READ = ("TrustDomain", "ServiceIdentity", "Namespace", "MessageBroker", "TopicPolicy")
HEAD = ("IDENTITY", "ACTION", "TOPIC", "GROUP", "BROKER", "POLICY", "STATE", "REASON")


class Output(StrEnum):
    """How it is told."""

    TEXT = "text"
    JSON = "json"


def grants(
    topic: Annotated[
        str, typer.Argument(help="A topic's name; everything that is declared if left out.")
    ] = "",
    *,
    files: sources.Files = None,
    kubeconfig: sources.Kubeconfig = None,
    context: sources.Context = None,
    output: Annotated[Output, typer.Option("--output", "-o", help="For whom.")] = Output.TEXT,
) -> None:
    """List who may publish and who may consume, and what to change where somebody may not.

    No broker is asked. Whether one has a grant already is told as the operator has seen it last.
    """
    everything = everything_granted(declared(files, kubeconfig, context, READ))
    found = [each for each in everything if not topic or each.is_about(topic)]
    if output is Output.JSON:
        typer.echo(json.dumps({"grants": [each.document() for each in found]}, indent=2))
    elif found:
        typer.echo(as_text(found), nl=False)
    else:
        typer.echo(
            f"no grant of {topic} is declared" if topic else "no grant is declared", err=True
        )


def as_text(grants: Iterable[Granted]) -> str:
    """Return grants as a table, each that is not as it should be with its sentence below it."""
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
