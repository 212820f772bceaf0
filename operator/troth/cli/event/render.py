"""Renders the results of `troth event open` and `explain`, as text and as JSON."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from troth.cli.checks import checks_document, checks_table, facts_table
from troth.cli.event import facts
from troth.cli.event.explain import Case, Judgement
from troth.cli.event.remedies import sentence
from troth.cli.event.session import Opened, OpenedLetter
from troth.cli.quoting import quoted, without_tokens
from troth.edge.events.consumption.dead_letters import DeadLetter
from troth.edge.events.event import Event
from troth.edge.events.rejection import Rejection

_INDENT = (0, 0, 0, 2)


def show_opened(console: Console, opened: Opened | OpenedLetter, *, payload: bool) -> None:
    """Print a verified event, or why the message is rejected."""
    if isinstance(opened, OpenedLetter):
        _show_letter(console, opened)
        if opened.original is not None:
            console.print(Text("its original, opened now:"))
            show_opened(console, opened.original, payload=payload)
        return
    if isinstance(opened.result, Event):
        _valid(console, opened.result, opened.case)
    else:
        _rejected(console, opened.result)
        _indented(console, Text("`troth event explain` shows every check", "dim"))
    _show_payload(console, opened.case, payload=payload, verified=opened.accepted)


def opened_document(opened: Opened | OpenedLetter, *, payload: bool) -> dict[str, Any]:
    """Return the same as JSON. Of a dead letter, `accepted` is about its original."""
    verdict: dict[str, Any] = {
        "accepted": opened.accepted,
        "policy": opened.case.policy,
        "origin": opened.case.message.origin,
    }
    if isinstance(opened, OpenedLetter):
        return verdict | _letter_document(opened, payload=payload)
    if isinstance(opened.result, Event):
        verdict["event"] = facts.event_document(opened.result)
    else:
        verdict |= facts.rejection_document(opened.result)
    return verdict | {"data": facts.data_document(opened.case.message, payload=payload)}


def show_judgement(console: Console, judgement: Judgement, *, payload: bool) -> None:
    """Print a message, what the policy expects, each check with its result, and the verdict."""
    case = judgement.case
    sections = {
        "message, not verified": facts.message_rows(case)
        | facts.certificate_rows(case.certificate, case.now),
        f"expected by {case.policy}": facts.expected_rows(case),
    }
    for title, rows in sections.items():
        console.print(Text(quoted(title), "dim"))
        _rows(console, rows)
    console.print(Text("checks", "dim"))
    console.print(Padding(checks_table(judgement.checks), _INDENT, expand=False))
    console.print()
    if judgement.event is None:
        console.print(Text(f"rejected: {', '.join(judgement.codes)}", "bold red"))
    else:
        _valid(console, judgement.event, case)
    _show_payload(console, case, payload=payload, verified=judgement.event is not None)


def judgement_document(judgement: Judgement, *, payload: bool) -> dict[str, Any]:
    """Return the same as JSON."""
    case, event = judgement.case, judgement.event
    return {
        "accepted": event is not None,
        "policy": case.policy,
        "codes": list(judgement.codes),
        "message": facts.message_document(case),
        "certificate": facts.certificate_document(case.certificate),
        "expected": facts.expected_document(case),
        "checks": [
            {name: without_tokens(each) for name, each in check.items()}
            for check in checks_document(judgement.checks)
        ],
        "event": None if event is None else facts.event_document(event),
        "data": facts.data_document(case.message, payload=payload),
    }


def show_explained_letter(
    console: Console, opened: OpenedLetter, original: Judgement | None, *, payload: bool
) -> None:
    """Print a dead letter, and every check of its original as of now."""
    _show_letter(console, opened)
    if original is not None:
        console.print()
        console.print(Text("its original, opened now:", "bold"))
        show_judgement(console, original, payload=payload)


def explained_letter_document(
    opened: OpenedLetter, original: Judgement | None, *, payload: bool
) -> dict[str, Any]:
    """Return the same as JSON."""
    document = opened_document(opened, payload=payload)
    if original is not None:
        document["original"] = judgement_document(original, payload=payload)
    return document


def _letter_document(opened: OpenedLetter, *, payload: bool) -> dict[str, Any]:
    if isinstance(opened.letter, Rejection):
        return {"deadLetter": None} | facts.rejection_document(opened.letter)
    assert opened.original is not None
    return {
        "deadLetter": facts.letter_document(opened.letter),
        "original": opened_document(opened.original, payload=payload),
    }


def _show_letter(console: Console, opened: OpenedLetter) -> None:
    if isinstance(opened.letter, DeadLetter):
        console.print(Text("valid dead letter", "bold green"))
        _rows(console, facts.letter_rows(opened.letter, opened.case.now))
    else:
        console.print(Text("a dead letter that is not valid itself", "bold red"))
        _rejected(console, opened.letter)


def _valid(console: Console, event: Event, case: Case) -> None:
    console.print(Text("valid event", "bold green"))
    _rows(console, facts.event_rows(event, case.now) | {"data": facts.data_text(case.message)})


def _rejected(console: Console, rejection: Rejection) -> None:
    console.print(Text(f"rejected: {rejection.reason}", "bold red"))
    _indented(console, Text(quoted(sentence(rejection))))


def _show_payload(console: Console, case: Case, *, payload: bool, verified: bool) -> None:
    if not payload or case.message.data is None:
        return
    console.print(Text("data", "dim") if verified else Text("data, not verified", "red"))
    _indented(console, Text(facts.payload_text(case.message.data)))


def _rows(console: Console, rows: Mapping[str, object]) -> None:
    console.print(Padding(facts_table(rows), _INDENT, expand=False))


def _indented(console: Console, text: Text) -> None:
    console.print(Padding(text, _INDENT, expand=False))
