"""Renders `troth token verify`: each check with its result, and the verdict."""

from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from troth.cli.checks import checks_document, checks_table, facts_table
from troth.cli.quoting import without_tokens
from troth.cli.token.holder import HOLDER
from troth.cli.token.verify import Judgement
from troth.pki.tokens.checks import AccessToken

_LABELS = {"not-yet-valid": "start", "expired": "expiry", "malformed": "format"}
"""Neutral names for checks whose code names the failure."""


def show(console: Console, judgement: Judgement) -> None:
    """Print each check and its result, then the content of a valid token or the problem codes."""
    console.print(checks_table(judgement.checks, _LABELS))
    console.print()
    if judgement.verified is None:
        console.print(Text(f"rejected: {', '.join(judgement.codes)}", "bold red"))
        return
    console.print(Text(f"valid {judgement.kind.noun}", "bold green"))
    for part in (facts_table(says(judgement)), Text(_limits(judgement), "yellow")):
        console.print(Padding(part, (0, 0, 0, 2), expand=False))


def _limits(judgement: Judgement) -> str:
    """Return how a valid token may be used."""
    token = judgement.verified
    if not isinstance(token, AccessToken):
        return "it does not authenticate the caller"
    if token.thumbprint is None:
        return "not bound to a certificate: anyone can use it, if the callee accepts such tokens"
    if all(check.name != HOLDER for check in judgement.checks):
        return "usable only with the certificate it is bound to; check one with --certificate"
    return "usable with this certificate"


def document(judgement: Judgement) -> dict[str, Any]:
    """Return the result as JSON."""
    return {
        "accepted": judgement.verified is not None,
        "kind": judgement.kind.noun,
        "codes": list(judgement.codes),
        "checks": checks_document(judgement.checks),
        "says": without_tokens(says(judgement)),
    }


def says(judgement: Judgement) -> dict[str, Any]:
    """Return the content of a valid token; empty for a rejected one."""
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
