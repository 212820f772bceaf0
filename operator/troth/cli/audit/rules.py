"""Rules on the command line: which there are, and what one is about."""

from collections.abc import Iterable
from typing import Any

import typer

from troth.audit.registry import RULE_BY_ID
from troth.audit.reports.text import page_of
from troth.audit.rule import Rule
from troth.resources.schema.sentences import nearest


def named(identifiers: Iterable[str]) -> tuple[Rule, ...]:
    """Return the rules with these IDs or names, all if there are none.

    Raises `typer.BadParameter` for an unknown one.
    """
    chosen = {rule_named(each).id for each in identifiers}
    return tuple(rule for rule in RULE_BY_ID.values() if not chosen or rule.id in chosen)


def rule_named(text: str) -> Rule:
    """Return the rule with an ID or name, or of the finding with an ID.

    Raises `typer.BadParameter` for an unknown one.
    """
    known = {rule.name.lower(): rule for rule in RULE_BY_ID.values()}
    word = text.partition("-")[0]
    found = RULE_BY_ID.get(word.upper()) or known.get(word.lower())
    if found is not None:
        return found
    names = [each for rule in RULE_BY_ID.values() for each in (rule.id, rule.name)]
    meant = nearest(word, names)
    hint = f"did you mean {meant}?" if meant else "see troth audit --list-rules"
    raise typer.BadParameter(f"no rule has the ID {text!r}; {hint}")


def rule_document(rule: Rule) -> dict[str, Any]:
    """Return a rule as JSON."""
    return {
        "id": rule.id,
        "name": rule.name,
        "severity": rule.severity.value,
        "title": rule.title,
        "reads": sorted(rule.reads | rule.sources),
        "page": page_of(rule.id),
    }


def explanation(rule: Rule) -> str:
    """Return what a rule finds, what it reads, and where the page about it is."""
    lines = [
        f"{rule.id} {rule.name}, severity {rule.severity.value}",
        rule.title.replace("`", ""),
        f"It reads: {', '.join(sorted(rule.reads | rule.sources))}",
        f"Why it matters, its precision and the way out: {page_of(rule.id)}",
    ]
    return "".join(f"{each}\n" for each in lines)
