"""The page that lists the rules of `troth audit`, written from the registry."""

from collections.abc import Iterable
from itertools import groupby

from troth.audit.reports.categories import category_of
from troth.audit.rule import Rule

HEADER = "<!-- Generated from the registry of rules by `make crds`. Do not edit. -->\n"

_HEAD = """\
# Rules

`troth audit` and the auditor evaluate these rules. An ID never changes. The page of a rule says
why it matters, how precise it is, and what fixes it. A rule that cannot read what it needs
[says so](../findings.md#what-rules-could-not-see).
"""


def rules_page(rules: Iterable[Rule]) -> str:
    """Return the page: a table for each category, with a link to the page of each rule."""
    ordered = sorted(rules, key=lambda rule: rule.id)
    sections = [
        _section(category, list(group))
        for category, group in groupby(ordered, key=lambda rule: category_of(rule.id))
    ]
    return f"{HEADER}\n{_HEAD}\n" + "\n".join(sections)


def _section(category: str, rules: Iterable[Rule]) -> str:
    rows = "".join(map(_row, rules))
    return (
        f"## {category}\n\n| rule | severity | finds | needs |\n| --- | --- | --- | --- |\n{rows}"
    )


def _row(rule: Rule) -> str:
    title = rule.title.replace("|", "\\|")
    sources = {each.partition(":")[0] for each in rule.sources}  # a broker's have aspects
    needs = ", ".join([*sorted(sources), *(f"`{kind}`" for kind in sorted(rule.reads))])
    return (
        f"| [{rule.id}](../findings/{rule.id}.md) {rule.name} | {rule.severity.value} | {title} "
        f"| {needs} |\n"
    )
