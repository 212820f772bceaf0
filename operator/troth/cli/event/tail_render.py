"""Renders `troth event tail`: one line, or one document, for each message."""

import json
from typing import Any

from rich.console import Console
from rich.text import Text

from troth.cli.event import facts, portable
from troth.cli.event.render import opened_document
from troth.cli.event.session import Opened, OpenedLetter
from troth.cli.output import Output, structured
from troth.cli.quoting import quoted
from troth.edge.events.consumption.dead_letters import DeadLetter
from troth.edge.events.event import Event
from troth.resources.schema.scalars import format_time

_ACCEPTED, _REJECTED = ("✓ ", "green"), ("✗ ", "red")


def show_line(console: Console, opened: Opened | OpenedLetter, *, payload: bool) -> None:
    """Print a message and its verdict in one line, with `payload` its data in a second one."""
    message = opened.case.message
    mark = _ACCEPTED if opened.accepted else _REJECTED
    text = _letter_line(opened) if isinstance(opened, OpenedLetter) else _line(opened)
    origin = (f"{quoted(message.origin)}  ", "bold")
    console.print(Text.assemble(mark, origin, quoted(text)))
    if payload and message.data is not None:
        verified = isinstance(opened, Opened) and opened.accepted
        label = "  " if verified else "  not verified: "
        data = Text(facts.payload_text(message.data), "" if verified else "yellow")
        console.print(Text.assemble(label, data))


def line_document(
    opened: Opened | OpenedLetter, binding: portable.Binding, output: Output, *, payload: bool
) -> str:
    """Return the same as one line of JSON, or as one document of YAML.

    With `payload` it has the whole message in its portable form.
    """
    document: dict[str, Any] = opened_document(opened, payload=payload)
    if payload:
        document["message"] = portable.document(opened.case.message, binding)
    if output is Output.YAML:
        return f"---\n{structured(document, output)}"
    return f"{json.dumps(document)}\n"


def _line(opened: Opened) -> str:
    result = opened.result
    size = _size(opened)
    if not isinstance(result, Event):
        actor = f"  from {result.actor}" if result.actor is not None else ""
        return f"{result}{actor}  {size}"
    parts = [format_time(result.time), result.type, result.actor]
    for label, value in (
        ("subject", result.subject),
        ("tenant", result.tenant),
        ("request", result.request_id),
        ("about", result.about),
    ):
        if value is not None:
            parts.append(f"{label} {value}")
    return "  ".join([*parts, size])


def _letter_line(opened: OpenedLetter) -> str:
    letter, original = opened.letter, opened.original
    if not isinstance(letter, DeadLetter) or original is None:
        return f"invalid dead letter: {letter}"
    now = "accepted" if isinstance(original.result, Event) else original.result.reason.value
    return (
        f"{format_time(letter.time)}  dead letter of {letter.origin}, {letter.rejection} "
        f"({letter.consumer}, {letter.attempts} attempts); opened now: {now}"
    )


def _size(opened: Opened) -> str:
    data = opened.case.message.data
    return "no data" if data is None else f"{len(data)} bytes"
