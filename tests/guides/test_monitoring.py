"""Alerts, their runbooks and their table belong together."""

import re
from pathlib import Path

import pytest

from tests.chart.monitoring.rules import alerts
from tests.guides.pages import ROOT, anchors, page

RUNBOOKS = page("runbooks.md")
ALERTS = {each["alert"]: each for each in alerts()}
SECTIONS = dict(re.findall(r"^### (\w+)\n\n(.*?)(?=^##|\Z)", RUNBOOKS, re.MULTILINE | re.DOTALL))


def test_every_alert_has_a_runbook_and_every_runbook_an_alert() -> None:
    assert list(SECTIONS) == list(ALERTS)


@pytest.mark.parametrize("name", ALERTS)
def test_alert_links_to_its_runbook(name: str) -> None:
    site = re.search(r"^site_url: (\S+)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    assert site
    url, _, anchor = ALERTS[name]["annotations"]["runbook_url"].partition("#")
    assert url == f"{site[1]}runbooks/"
    assert anchor == name.lower()
    assert anchor in anchors(RUNBOOKS)


@pytest.mark.parametrize("name", ALERTS)
def test_runbook_says_what_it_means_how_to_look_and_what_to_do(name: str) -> None:
    lead = re.findall(r"\*\*(\w+)\b", SECTIONS[name].lower())
    assert lead == ["meaning", "look", "do"]


@pytest.mark.parametrize("name", ALERTS)
def test_alert_says_how_severe_it_is_and_what_happened(name: str) -> None:
    assert ALERTS[name]["labels"]["severity"] in {"warning", "critical"}
    assert ALERTS[name]["annotations"].keys() == {"summary", "description", "runbook_url"}


def test_guide_lists_every_alert_with_its_severity() -> None:
    rows = re.findall(
        r"^\| \[(\w+)\]\(runbooks\.md#(\w+)\) \| (\w+) \|", page("monitoring.md"), re.MULTILINE
    )
    severities = {name: each["labels"]["severity"] for name, each in ALERTS.items()}
    assert {name: severity for name, _, severity in rows} == severities
    assert all(anchor == name.lower() for name, anchor, _ in rows)


def test_runbooks_search_the_log_for_what_it_says() -> None:
    source = "\n".join(path.read_text() for path in Path(ROOT, "operator").rglob("*.py"))
    searched = re.findall(r"(?:grep|-e) '([a-z ]+)'", RUNBOOKS)
    assert searched
    assert {each for each in searched if each not in source} == set()
