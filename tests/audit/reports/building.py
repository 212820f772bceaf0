"""Evaluations for the tests of reports."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest
from rich.console import Console

from troth.audit.evaluation import Evaluation
from troth.audit.finding import Evidence, Finding, Fix, Object, Unseen
from troth.audit.registry import RULE_BY_ID
from troth.audit.rule import Rule
from troth.cli.audit.manifests import Manifests
from troth.cli.audit.render import show
from troth.cli.audit.report import Report
from troth.resources.references import Ref
from troth.resources.reported import Severity

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
EARLIER = NOW - timedelta(days=30)

RULE = "TR701"

ESCAPE = "\x1b[2Jweb\x1b]8;;https://evil.example\x07"
"""Sequences that clear a terminal and make a link."""
BIDI = "web\u202efdp.exe\u2066"
MARKUP = "![x](https://evil.example/p.png)<script>alert(1)</script>|`a`@octocat"
PLACEHOLDER = "{0} [secrets](https://evil.example)"
LINES = "web\n- **critical** forged\r\u2028# Heading"
TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhZG1pbiJ9.c2lnbmF0dXJl"
HOSTILE = (ESCAPE, BIDI, MARKUP, PLACEHOLDER, LINES, TOKEN)


def finding(
    name: str = "web",
    namespace: str = "shop",
    *,
    kind: str = "Deployment",
    rule: str = RULE,
    message: str = "it runs as the ServiceAccount default; give it one of its own",
    shows: str = "is default",
    owner: str = "",
) -> Finding:
    subject = Object(kind, Ref(namespace, name))
    evidence = Evidence(subject, "spec.template.spec.serviceAccountName", shows)
    return Finding(rule, subject, message, (evidence,), owner=owner)


def evaluation(
    findings: Iterable[Finding] = (),
    unseen: Iterable[Unseen] = (),
    excepted: Iterable[tuple[Finding, str]] = (),
) -> Evaluation:
    return Evaluation(tuple(findings), tuple(unseen), tuple(excepted))


def terminal_lines(found: Evaluation) -> list[str]:
    """Return what `troth audit` prints of an evaluation on a wide terminal."""
    console = Console(file=StringIO(), width=10_000, color_system=None, highlight=False)
    with console.capture() as captured:
        show(console, Report(found, Manifests()), "troth audit --fix", excepted=True)
    return captured.get().removesuffix("\n").split("\n")


def hostile(text: str) -> Finding:
    """Return a finding whose every text of a user is hostile."""
    return finding(text, message=f"it has {text}", shows=f"is {text}", owner=text)


def with_rule(monkeypatch: pytest.MonkeyPatch, identifier: str, severity: Severity) -> None:
    """Register a rule for one test."""
    rule = Rule(
        id=identifier,
        name="Invented",
        title="A workload has an invented fault.",
        severity=severity,
        reads=frozenset(),
        find=lambda *_: (),
        fix=lambda *_: Fix(),
    )
    monkeypatch.setitem(RULE_BY_ID, identifier, rule)
