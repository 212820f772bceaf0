"""`troth check` judges exceptions from findings, by their form and by their end."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.builders import DAY, Manifest, finding_exception, stamp
from tests.cli.running import Ended, troth
from troth.resources.manifests import dump

NOW = datetime.now(UTC)
SHOP: Manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}


def checked(**spec: Any) -> Ended:
    exception = finding_exception(now=NOW, **spec)
    text = "---\n".join(map(dump, (SHOP, exception)))
    return troth("check", "-f", "-", given=text.encode())


def test_exception_with_an_end_is_no_finding() -> None:
    assert checked() == Ended(0, "", "")


@pytest.mark.parametrize(
    ("end", "severity", "reason"),
    [
        (timedelta(0), "error", "ExceptionExpired"),
        (7 * DAY, "warning", "ExceptionEnding"),
        (400 * DAY, "error", "ExceptionTooLong"),
    ],
)
def test_end_that_is_past_near_or_too_far_is_a_finding(
    end: timedelta, severity: str, reason: str
) -> None:
    ended = checked(expiresAt=stamp(NOW + end))
    assert ended.code == 1
    (line,) = ended.lines
    assert f": {severity}: FindingException shop/legacy: spec.expiresAt: " in line
    assert line.endswith(f"[{reason}]")


def test_unknown_rule_is_a_finding_at_its_line() -> None:
    ended = checked(rules=["TR701", "TR999"])
    assert ended.code == 1
    assert "spec.rules[" in ended.lines[-1]
    assert "no rule has the ID TR999" in ended.lines[-1]
    assert ended.lines[-1].endswith("[UnknownRule]")


def test_misspelled_field_is_a_finding_with_the_field_that_is_meant() -> None:
    ended = checked(expiresat="2027-01-01T00:00:00Z")
    assert any("did you mean expiresAt?" in each for each in ended.lines)


def test_namespace_that_does_not_exist_is_a_finding() -> None:
    ended = troth("check", "-f", "-", given=dump(finding_exception(now=NOW)).encode())
    assert ended.code == 1
    assert ended.lines[0].endswith("[NamespaceMissing]")


def test_exception_counts_where_troth_does_not_watch() -> None:
    """`troth audit` reads it with the rights of its user."""
    text = "---\n".join(map(dump, (SHOP, finding_exception(now=NOW))))
    ended = troth("check", "-f", "-", "--watched-namespaces", "legal", given=text.encode())
    assert ended == Ended(0, "", "")
