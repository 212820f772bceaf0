"""Each alert fires for its fault and not before, and no alert fires without one: by promtool."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import generate_latest

from tests.chart.monitoring.cases import CASES, HEALTHY, Case, Series
from tests.chart.monitoring.exposition import registries
from tests.chart.monitoring.rules import ALERTS, alerts, expanded, groups, promtool, queries

RULES = {each["alert"]: each for each in alerts()}


def test_every_alert_has_a_case() -> None:
    assert CASES.keys() == RULES.keys()


def test_promtool_finds_no_fault_in_the_rules() -> None:
    promtool("check", "rules", "--lint=all", "--lint-fatal", ALERTS)


async def test_promtool_finds_no_fault_in_the_metrics() -> None:
    async with registries() as found:
        for each in found:
            promtool("check", "metrics", stdin=generate_latest(each).decode())


def test_promtool_parses_every_query_of_the_dashboard(tmp_path: Path) -> None:
    # a rule with the query is the form in which promtool checks one
    recorded = [{"record": f"panel:{n}", "expr": expr} for n, expr in enumerate(queries())]
    file = tmp_path / "queries.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": recorded}]}))
    promtool("check", "rules", "--lint=none", file)


@pytest.mark.parametrize("group", groups(), ids=lambda group: group["name"])
def test_each_alert_fires_for_its_fault_and_not_before(
    group: dict[str, Any], tmp_path: Path
) -> None:
    tests = [
        _test(f"{name} {number}", case.series, [_quiet(name, case.before), _firing(name, case)])
        for name in (rule["alert"] for rule in group["rules"])
        for number, case in enumerate(CASES[name])
    ]
    _judge([group], tests, tmp_path)


def test_no_alert_fires_without_a_fault(tmp_path: Path) -> None:
    expected = [_quiet(name, minute) for name in RULES for minute in (60, 190)]
    _judge(groups(), [_test("healthy", HEALTHY, expected)], tmp_path)


def _test(name: str, values: Series, expected: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "name": name,
        "interval": "1m",
        "input_series": [{"series": each, "values": values[each]} for each in values],
        "alert_rule_test": expected,
    }


def _quiet(name: str, minute: int) -> dict[str, Any]:
    return {"alertname": name, "eval_time": f"{minute}m", "exp_alerts": []}


def _firing(name: str, case: Case) -> dict[str, Any]:
    rule = RULES[name]
    annotations = {
        key: expanded(text, case.labels, case.value) for key, text in rule["annotations"].items()
    }
    fired = {"exp_labels": case.labels | rule["labels"], "exp_annotations": annotations}
    return {"alertname": name, "eval_time": f"{case.at}m", "exp_alerts": [fired]}


def _judge(rules: list[dict[str, Any]], tests: list[dict[str, Any]], directory: Path) -> None:
    """Run tests; promtool evaluates all rules for each, so the fewer the faster."""
    rule_file, file = directory / "rules.yaml", directory / "tests.yaml"
    rule_file.write_text(yaml.safe_dump({"groups": rules}))
    content = {"rule_files": [str(rule_file)], "evaluation_interval": "1m", "tests": tests}
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    promtool("test", "rules", file)
