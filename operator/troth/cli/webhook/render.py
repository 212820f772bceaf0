"""Renders the results of `troth webhook`, as text and as JSON."""

import json
import unicodedata
from hashlib import sha256
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from troth.cli.checks import checks_document, checks_table, facts_table
from troth.cli.quoting import quoted
from troth.cli.webhook.verify import Judgement
from troth.resources.webhooks.schemes import SchemeName
from troth.webhooks.schemes.delivery import Delivery


def show(
    console: Console, judgement: Judgement, delivery: Delivery, notes: tuple[str, ...]
) -> None:
    """Print the input, each check with its result, the verdict and the hints."""
    digest = sha256(delivery.body).hexdigest()
    console.print(Text(f"body: {len(delivery.body)} bytes, SHA-256 {digest}", "dim"))
    for note in notes:
        console.print(Text(quoted(f"note: {note}"), "yellow"))
    console.print(checks_table(judgement.checks))
    console.print()
    if judgement.verified is None:
        console.print(Text(f"rejected: {', '.join(judgement.codes)}", "bold red"))
        for hint in judgement.hints:
            console.print(Padding(Text(quoted(hint), "yellow"), (0, 0, 0, 2), expand=False))
        return
    if judgement.verified.signed:
        console.print(Text("valid delivery", "bold green"))
    else:
        console.print(Text("valid token; nothing of the delivery is signed", "bold yellow"))
    console.print(Padding(facts_table(_verified_facts(judgement)), (0, 0, 0, 2), expand=False))


def document(
    judgement: Judgement, scheme: SchemeName, delivery: Delivery, notes: tuple[str, ...]
) -> dict[str, Any]:
    """Return the result as JSON."""
    return {
        "accepted": judgement.verified is not None,
        "scheme": scheme.value,
        "codes": list(judgement.codes),
        "checks": checks_document(judgement.checks),
        "hints": list(judgement.hints),
        "notes": list(notes),
        "body": {"bytes": len(delivery.body), "sha256": sha256(delivery.body).hexdigest()},
        "says": _verified_facts(judgement),
    }


def _verified_facts(judgement: Judgement) -> dict[str, Any]:
    known = judgement.verified
    if known is None:
        return {}
    facts: dict[str, Any] = {"key": known.key_id}
    if not known.signed:
        facts["signed"] = "nothing; anyone with the token can forge any delivery"
    if known.delivery_id is not None:
        facts["delivery id"] = known.delivery_id
    if known.timestamp is not None:
        facts["timestamp"] = known.timestamp
    if known.answer is not None:
        facts["answered"] = (
            "at once, and not forwarded: the sender only checks that the endpoint exists"
        )
    return facts


def does_something(text: str) -> bool:
    """Return whether a text has control characters other than tabs and line breaks."""
    return any(
        unicodedata.category(each) == "Cc" and each not in "\t\n"
        for each in text.replace("\r\n", "\n")
    )


def raw(delivery: Delivery, host: str) -> bytes:
    """Return a delivery as raw HTTP."""
    headers = [(b"Host", host.encode()), *delivery.headers]
    kept = [pair for pair in headers if pair[0] not in (b"host", b"content-length")]
    kept.append((b"Content-Length", str(len(delivery.body)).encode()))
    lines = [delivery.method.encode() + b" " + delivery.target + b" HTTP/1.1"]
    lines += [name + b": " + value for name, value in kept]
    return b"\r\n".join(lines) + b"\r\n\r\n" + delivery.body


def lines(delivery: Delivery) -> str:
    """Return the headers of a delivery, one in each line."""
    return "\n".join(
        f"{name.decode()}: {value.decode('latin-1')}" for name, value in delivery.headers
    )


def parts(delivery: Delivery, url: str) -> str:
    """Return a signed delivery as JSON; bytes of the body that are not UTF-8 are escaped."""
    _, mark, query = delivery.target.decode("ascii").partition("?")
    return json.dumps(
        {
            "method": delivery.method,
            "url": url + mark + query,
            "headers": {name.decode(): value.decode("latin-1") for name, value in delivery.headers},
            "body": delivery.body.decode(errors="backslashreplace"),
        },
        indent=2,
    )
