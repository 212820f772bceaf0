"""The list of rules has every rule of the registry, once, with its page."""

import re

from tests.guides.pages import DOCS
from troth.audit.registry import RULES
from website.rules import rules_page


def test_list_has_every_rule_once_and_by_id() -> None:
    rows = re.findall(
        r"^\| \[(TR\d+)\]\((.+?)\) (\w+) \| (\w+) \|", rules_page(RULES), re.MULTILINE
    )
    assert [(identifier, name, severity) for identifier, _, name, severity in rows] == [
        (rule.id, rule.name, rule.severity.value)
        for rule in sorted(RULES, key=lambda each: each.id)
    ]
    for _, target, *_ in rows:
        assert (DOCS / "reference" / target).resolve().exists()


def test_rule_that_needs_connections_says_so() -> None:
    for rule in RULES:
        (row,) = re.findall(rf"^\| \[{rule.id}\].*$", rules_page(RULES), re.MULTILINE)
        sources = {each.partition(":")[0] for each in rule.sources}
        assert all(each in row for each in (*sources, *rule.reads))
