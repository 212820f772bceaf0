"""How `troth token verify` is told: every check with its answer, and the verdict."""

from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from troth.cli.quoting import quoted, without_tokens
from troth.cli.token.checks import HOLDER, Answer, Judgement
from troth.pki.token_checks import AccessToken

_MARKS = {Answer.PASSED: ("✓", "green"), Answer.FAILED: ("✗", "red"), Answer.UNTOLD: ("·", "dim")}
_NAMES = {"not-yet-valid": "begun", "expired": "not over", "malformed": "form"}
"""What a check is called where its code says what is wrong."""


def show(console: Console, judgement: Judgement) -> None:
    """Print each check and its answer, then what a good token says, or why this one is refused."""
    table = Table.grid(padding=(0, 2))
    for _ in range(2):
        table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for check in judgement.checks:
        said = check.sentence
        if check.code:
            said = f"{check.code}: {said}"
        elif check.answer is Answer.UNTOLD:
            said = "not asked"
        table.add_row(Text(*_MARKS[check.answer]), _NAMES.get(check.name, check.name), Text(said))
    console.print(table)
    console.print()
    if judgement.verified is None:
        console.print(Text(f"refused: {', '.join(judgement.codes)}", "bold red"))
        return
    console.print(Text(f"a good {judgement.sort.value}", "bold green"))
    facts = Table.grid(padding=(0, 2))
    facts.add_column(no_wrap=True)
    facts.add_column(overflow="fold")
    for name, value in says(judgement).items():
        facts.add_row(name, Text(quoted(value)))
    for part in (facts, Text(_limits(judgement), "yellow")):
        console.print(Padding(part, (0, 0, 0, 2), expand=False))


def _limits(judgement: Judgement) -> str:
    """Return what a good token is not good for."""
    token = judgement.verified
    if not isinstance(token, AccessToken):
        return "by itself it authenticates nobody"
    if token.thumbprint is None:
        return "whoever has it can use it, where the callee takes tokens that are bound to nobody"
    if all(check.name != HOLDER for check in judgement.checks):
        return "good in its holder's hands alone; --certificate tells whose they are"
    return "in the hands of its holder"


def document(judgement: Judgement) -> dict[str, Any]:
    """Return the same for machines."""
    return {
        "accepted": judgement.verified is not None,
        "kind": judgement.sort.value,
        "codes": list(judgement.codes),
        "checks": [
            {"name": check.name, "answer": check.answer.value, "sentence": check.sentence}
            | ({"code": check.code} if check.code else {})
            for check in judgement.checks
        ],
        "says": without_tokens(says(judgement)),
    }


def says(judgement: Judgement) -> dict[str, Any]:
    """Return what a good token says; nothing of one that is refused."""
    token = judgement.verified
    if token is None:
        return {}
    scopes = " ".join(sorted(token.scopes)) or "none"
    if isinstance(token, AccessToken):
        bound = f"the certificate {token.thumbprint}" if token.thumbprint else "no certificate"
        return {"subject": token.subject, "scopes": scopes, "bound to": bound}
    return {
        "subject": token.subject,
        "scopes": scopes,
        "transaction": token.transaction,
        "requester": token.requester,
        **{f"context {name}": value for name, value in token.context.items()},
    }
