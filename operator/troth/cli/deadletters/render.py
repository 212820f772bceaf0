"""Renders dead letters and reviews for people. All text of letters is escaped."""

import base64
from binascii import Error
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from troth.cli.checks import Check, Outcome, checks_table, facts_table
from troth.cli.event.facts import payload_text
from troth.cli.event.remedies import sentence
from troth.cli.inputs.single import fault
from troth.cli.quoting import quoted
from troth.cli.status.track import length
from troth.edge.events.rejection import Reason, Rejection
from troth.resources.schema.scalars import parse_moment

Document = Mapping[str, Any]

_INDENT = (0, 0, 0, 2)
_OUTCOMES = {"Passed": Outcome.PASSED, "Failed": Outcome.FAILED}
_STYLES = {
    "Redriven": "green",
    "Discarded": "green",
    "Quarantined": "yellow",
    "Skipped": "yellow",
    "Failed": "red",
}
_FACTS = {
    "id": "id",
    "state": "state",
    "review": "review",
    "consumer": "consumer",
    "group": "group",
    "producer": "producer",
    "tenant": "tenant",
    "eventID": "event",
    "origin": "origin",
    "attempts": "attempts",
    "redrives": "redrives",
    "size": "bytes",
    "digest": "digest",
}
_COLUMNS = ("ID", "AGE", "REASON", "CONSUMER", "PRODUCER", "TENANT", "ATTEMPTS", "REDRIVES")


def utc_now() -> datetime:
    """Return the current time."""
    return datetime.now(UTC)


def show_letters(console: Console, letters: Iterable[Document], now: datetime) -> None:
    """Print a row for each letter."""
    rows = (
        (
            Text(quoted(letter["id"])),
            Text(_age(letter["time"], now)),
            Text(quoted(letter["reason"]), "red"),
            *(
                Text(quoted(short(letter[name]) if name in letter else "-"))
                for name in ("consumer", "producer", "tenant")
            ),
            *(Text(quoted(letter[name])) for name in ("attempts", "redrives")),
        )
        for letter in letters
    )
    _print_rows(console, _COLUMNS, rows)


def show_policies(console: Console, policies: Iterable[Document], now: datetime) -> None:
    """Print a row for each policy: how many letters await a decision, and the oldest."""
    rows = (
        (
            Text(quoted(each["policy"])),
            Text(quoted(each["pending"]), "red" if each["pending"] else "green"),
            Text(quoted(each["quarantined"])),
            Text(_age(each["oldest"], now) if each.get("oldest") else "-"),
            Text(
                quoted(", ".join(f"{one['reason']} {one['count']}" for one in each["reasons"]))
                or "-"
            ),
        )
        for each in policies
    )
    _print_rows(console, ("POLICY", "PENDING", "QUARANTINED", "OLDEST", "REASONS"), rows)


def show_letter(console: Console, shown: Document, now: datetime) -> None:
    """Print a letter, each check of its original, and what a redrive would do now."""
    letter, redrive = shown["letter"], shown["redrive"]
    console.print(Text(quoted(f"{letter['reason']}: {letter.get('detail', '')}"), "bold red"))
    rows = {label: letter[name] for name, label in _FACTS.items() if name in letter}
    rows["time"] = f"{letter['time']}, {_age(letter['time'], now)} ago"
    if letter.get("omitted"):
        rows["omitted"] = " and ".join(letter["omitted"])
    _indented(console, facts_table(rows))
    console.print(Text("its message, opened by the consumer now", "dim"))
    _indented(console, checks_table(_check(each) for each in shown["checks"]))
    console.print(Text("a redrive now", "dim"))
    _indented(console, _outcome(redrive))


def show_payload(console: Console, payload: Document, *, verified: bool) -> None:
    """Print the data of a message as text."""
    console.print(Text("data", "dim") if verified else Text("data, not verified", "red"))
    _indented(console, Text(payload_text(data_of(payload))))


def data_of(payload: Document) -> bytes:
    """Return the data of a payload's document."""
    try:
        return base64.b64decode(payload["data"], validate=True)
    except (Error, KeyError, TypeError, ValueError):
        raise fault("worker", "its answer has no data in base64") from None


def is_valid(shown: Document) -> bool:
    """Return whether all checks of a letter's message passed."""
    return all(each["verdict"] == "Passed" for each in shown["checks"])


def show_dry_run(console: Console, dry_run: Document, action: str, now: datetime) -> None:
    """Print what a review would do, and the first letters that it would select."""
    count, examined = dry_run["count"], dry_run["examined"]
    letters = "letter" if count == 1 else "letters"
    console.print(Text(f"{action} of {count} {letters} until {quoted(dry_run['until'])}", "bold"))
    _indented(console, facts_table({"digest": dry_run["digest"]}))
    if not count:
        return
    of = "" if examined == count else f", of the first {examined}"
    console.print(Text(f"outcomes{of}", "dim"))
    for each in dry_run["outcomes"]:
        text = Text.assemble(f"{each['count']:>7}  ", _outcome(each))
        console.print(text)
    sample = dry_run["sample"]
    console.print(Text("letters" if len(sample) == count else f"first {len(sample)}", "dim"))
    show_letters(console, sample, now)


def show_request(console: Console, review: Document) -> None:
    """Print who requests what of a review, and why."""
    spec, selection = review["spec"], (review.get("status") or {}).get("selection")
    select = spec.get("select") or {}
    rows: dict[str, object] = {
        "policy": spec["policy"]["name"],
        "action": spec["action"],
        "reason": spec["reason"],
        "requested by": spec["requestedBy"],
        "select": ", ".join(f"{name} {_brief(value)}" for name, value in select.items()),
    }
    if selection is not None:
        rows |= {"letters": selection["count"], "digest": selection["digest"]}
    console.print(Text(quoted(f"DeadLetterReview {review['metadata']['name']}"), "bold"))
    _indented(console, facts_table(rows))


def short(workload: str) -> str:
    """Return `namespace/account` of a workload's SPIFFE ID; another text as it is."""
    match workload.split("/"):
        case ["spiffe:", "", _, "ns", namespace, "sa", account]:
            return f"{namespace}/{account}"
        case _:
            return workload


def _brief(value: object) -> str:
    if isinstance(value, dict):
        return "/".join(str(part) for part in (value.get("namespace"), value.get("name")) if part)
    return f"{len(value)}" if isinstance(value, list) else str(value)


def _check(each: Document) -> Check:
    outcome = _OUTCOMES.get(each["verdict"], Outcome.NOT_RUN)
    code = each.get("reason", "")
    return Check(each["name"], outcome, _told(code, each.get("detail", "")), code)


def _told(code: str, detail: str) -> str:
    """Return what is wrong, and what to do if the reason is that of a check of an event."""
    try:
        return sentence(Rejection(Reason(code), detail or code))
    except (ValueError, KeyError):
        return detail


def _outcome(each: Document) -> Text:
    outcome = each["outcome"]
    text = Text(quoted(outcome), _STYLES.get(outcome, ""))
    if each.get("reason"):
        text.append(quoted(f" {each['reason']}"))
    if each.get("detail"):
        text.append(quoted(f": {each['detail']}"))
    return text


def _age(time: str, now: datetime) -> str:
    try:
        return length(abs(now - parse_moment(time)))
    except ValueError:
        return quoted(time)


def _print_rows(console: Console, columns: Iterable[str], rows: Iterable[Iterable[Text]]) -> None:
    """Print aligned columns. Nothing is cut or wrapped, so that IDs can be copied."""
    lines = [[Text(name, "dim") for name in columns], *(list(row) for row in rows)]
    widths = [max(cell.cell_len for cell in column) for column in zip(*lines, strict=True)]
    for line in lines:
        text = Text()
        for cell, width in zip(line, widths, strict=True):
            text.append_text(cell).append(" " * (width - cell.cell_len + 2))
        text.rstrip()
        console.print(text)


def _indented(console: Console, part: Table | Text) -> None:
    console.print(Padding(part, _INDENT, expand=False))
