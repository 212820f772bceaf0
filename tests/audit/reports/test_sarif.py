"""SARIF: valid by the schema of OASIS, and what code scanning needs."""

import gzip
import json
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest

from tests.audit.pages import example_scene, page
from tests.audit.reports.building import (
    HOSTILE,
    RULE,
    TOKEN,
    evaluation,
    finding,
    hostile,
)
from tests.audit.reports.oasis import faults
from troth.audit.evaluation import Evaluation, Evaluator
from troth.audit.finding import Evidence, Finding, Object, Unseen
from troth.audit.registry import RULES
from troth.audit.reports.sarif import MOST_RESULTS, sarif
from troth.audit.rule import Rule
from troth.resources.references import Ref
from troth.resources.reported import Severity

WEB = Object("Deployment", Ref("shop", "web"))
FIELD = "spec.template.spec.serviceAccountName"


def nowhere(_object: Object, _field: str) -> None:
    """Return the place of an object that no file has."""


def in_a_file(place: Object, field: str) -> tuple[str, int] | None:
    return ("deploy/web.yaml", 12 if field else 3) if place == WEB else None


def _run(found: Evaluation, places: Any = nowhere, elsewhere: str = "a.yaml") -> dict[str, Any]:
    """Return the run of a log that is valid."""
    log = sarif(found, places, "1.2.3", elsewhere)
    assert faults(log) == []
    run: dict[str, Any] = log["runs"][0]
    return run


@pytest.mark.parametrize(
    "spoil",
    [
        lambda run: run["results"][0].pop("message"),
        lambda run: run["results"][0].update(level="high"),
        lambda run: run["results"][0].update(unknown=1),
        lambda run: run["results"][0]["locations"][0]["physicalLocation"]["region"].update(
            startLine=0
        ),
        lambda run: run["tool"]["driver"].update(informationUri="no uri"),
        lambda run: run["tool"]["driver"]["rules"].append(run["tool"]["driver"]["rules"][0]),
    ],
)
def test_judge_rejects_a_spoilt_log(spoil: Any) -> None:
    log = deepcopy(sarif(evaluation([finding()]), in_a_file, "1.2.3"))
    spoil(log["runs"][0])
    assert faults(log)


def test_log_without_findings_is_valid_and_has_all_rules() -> None:
    run = _run(evaluation())
    assert run["results"] == []
    driver = run["tool"]["driver"]
    assert (driver["name"], driver["version"]) == ("Troth", "1.2.3")
    assert [each["id"] for each in driver["rules"]] == [each.id for each in RULES]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_log_of_a_rules_examples_is_valid(rule: Rule) -> None:
    for manifests in page(rule).found:
        run = _run(Evaluator().evaluate(example_scene(manifests)), lambda *_: ("a b.yaml", 1))
        assert rule.id in {each["ruleId"] for each in run["results"]}


BANDS = {
    Severity.CRITICAL: (9.1, 10.0),
    Severity.HIGH: (7.0, 8.9),
    Severity.MEDIUM: (4.0, 6.9),
    Severity.LOW: (0.1, 3.9),
}
"""How GitHub reads `security-severity`."""


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_code_scanning_shows_a_rule_with_its_severity(rule: Rule) -> None:
    rules = _run(evaluation())["tool"]["driver"]["rules"]
    described = next(each for each in rules if each["id"] == rule.id)
    properties = described["properties"]
    assert "security" in properties["tags"]
    assert len(properties["tags"]) <= 10
    if rule.severity in BANDS:
        lowest, highest = BANDS[rule.severity]
        assert lowest <= float(properties["security-severity"]) <= highest
    else:
        assert "security-severity" not in properties
    assert described["helpUri"].endswith(f"/findings/{rule.id}/")
    assert "`" not in described["shortDescription"]["text"]


def test_result_names_file_and_line_of_the_evidence() -> None:
    (result,) = _run(evaluation([finding(owner="payments")]), in_a_file)["results"]
    assert result["ruleId"] == RULE
    assert RULES[result["ruleIndex"]].id == RULE
    assert result["level"] == "warning"
    (location,) = result["locations"]
    assert location["physicalLocation"] == {
        "artifactLocation": {"uri": "deploy/web.yaml", "uriBaseId": "%SRCROOT%"},
        "region": {"startLine": 12},
    }
    assert location["logicalLocations"] == [
        {"name": "web", "fullyQualifiedName": "shop/Deployment/web", "kind": "resource"}
    ]
    assert result["partialFingerprints"] == {"trothFinding/v1": finding().id}
    assert result["properties"]["owner"] == "payments"
    assert "relatedLocations" not in result
    assert "suppressions" not in result


def test_result_about_evidence_in_no_file_is_at_its_subject() -> None:
    other = Evidence(Object("Secret", Ref("shop", "kafka")), "", "is shared")
    one = Finding(RULE, WEB, "it shares a Secret", (other,))
    (result,) = _run(evaluation([one]), in_a_file)["results"]
    assert result["locations"][0]["physicalLocation"]["region"] == {"startLine": 3}


def test_further_evidence_is_related_and_bounded() -> None:
    every = tuple(Evidence(WEB, f"spec.field[{number}]", "is set") for number in range(2000))
    (result,) = _run(evaluation([Finding(RULE, WEB, "it is so", every)]), in_a_file)["results"]
    related = result["relatedLocations"]
    assert len(related) == 15
    assert related[0]["message"]["text"] == r"Deployment shop/web spec.field\[1\]: is set"
    assert result["properties"]["evidence"][-1] == "and 1984 more"


LOGICAL = {"name": "prod", "fullyQualifiedName": "TrustDomain/prod", "kind": "resource"}


def test_object_in_no_file_is_at_the_first_line_of_the_input() -> None:
    """GitHub rejects a whole log with a result that has no physical location."""
    run = _run(evaluation([finding("prod", "", kind="TrustDomain")]), elsewhere="deploy/a.yaml")
    (result,) = run["results"]
    assert result["locations"] == [
        {
            "logicalLocations": [LOGICAL],
            "physicalLocation": {
                "artifactLocation": {"uri": "deploy/a.yaml", "uriBaseId": "%SRCROOT%"},
                "region": {"startLine": 1},
            },
        }
    ]


def test_findings_without_an_input_file_are_counted_notifications() -> None:
    one = finding("prod", "", kind="TrustDomain")
    run = _run(evaluation([one], excepted=[(finding("old"), "shop/legacy")]), elsewhere="")
    assert run["results"] == []
    count, each = run["invocations"][0]["toolExecutionNotifications"]
    assert count["message"]["text"].startswith("1 finding is in no file")
    assert each["level"] == "warning"
    assert each["associatedRule"]["id"] == RULE
    assert each["locations"] == [{"logicalLocations": [LOGICAL]}]
    assert "prod" in each["message"]["text"]


@pytest.mark.parametrize(
    ("path", "uri"),
    [
        ("./a/../deploy/web.yaml", "deploy/web.yaml"),
        ("with space #1?.yaml", "with%20space%20%231%3F.yaml"),
        ("javascript:alert(1).yaml", "javascript%3Aalert%281%29.yaml"),
        ("/srv/web.yaml", "file:///srv/web.yaml"),
        ("//evil.example/web.yaml", "file:///evil.example/web.yaml"),
        ("\udcff.yaml", "%FF.yaml"),
    ],
)
def test_path_of_a_file_is_a_uri_reference(path: str, uri: str) -> None:
    (result,) = _run(evaluation([finding()]), lambda *_: (path, 1))["results"]
    assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == uri


def test_excepted_finding_is_suppressed_with_its_exception() -> None:
    run = _run(evaluation([finding("new")], excepted=[(finding("old"), "shop/legacy")]))
    new, old = run["results"]
    assert "suppressions" not in new
    assert old["suppressions"] == [
        {
            "kind": "external",
            "status": "accepted",
            "justification": "FindingException shop/legacy",
        }
    ]


def test_what_rules_could_not_see_is_a_notification() -> None:
    pods = Unseen(RULE, ("Pod",), "the user may not list pods")
    (notification,) = _run(evaluation(unseen=[pods]))["invocations"][0][
        "toolExecutionNotifications"
    ]
    assert notification["level"] == "error"
    assert notification["associatedRule"]["id"] == RULE
    assert "Pod (the user may not list pods)" in notification["message"]["text"]


def test_missing_traffic_is_a_warning() -> None:
    traffic = Unseen(RULE, ("traffic",), "nobody watches connections")
    run = _run(evaluation(unseen=[traffic]))
    (notification,) = run["invocations"][0]["toolExecutionNotifications"]
    assert notification["level"] == "warning"


def test_log_stays_within_the_limits_of_code_scanning() -> None:
    many = [finding(f"web-{number}", owner="payments") for number in range(MOST_RESULTS + 3)]
    log = sarif(evaluation(many), in_a_file, "1.2.3", "a.yaml")
    run = log["runs"][0]
    shown = [each["partialFingerprints"]["trothFinding/v1"] for each in run["results"]]
    assert shown == [each.id for each in many[:MOST_RESULTS]]
    (notification,) = run["invocations"][0]["toolExecutionNotifications"]
    assert notification["message"]["text"].startswith("3 results are left out")
    assert len(gzip.compress(json.dumps(log).encode())) < 10_000_000


def test_severity_of_a_finding_counts_before_the_rules() -> None:
    one = replace(finding(), severity=Severity.CRITICAL)
    (result,) = _run(evaluation([one]))["results"]
    assert result["level"] == "error"
    assert result["properties"]["severity"] == "critical"
    assert float(result["properties"]["security-severity"]) > 9


def _texts(value: object) -> list[str]:
    match value:
        case str():
            return [value]
        case dict():
            return [text for each in value.values() for text in _texts(each)]
        case list():
            return [text for each in value for text in _texts(each)]
        case _:
            return []


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_names_and_evidence_are_printable_and_make_no_link(text: str) -> None:
    one = hostile(text)
    found = evaluation([one], [Unseen(RULE, (text,), text)], [(one, text)])
    assert TOKEN not in json.dumps(_run(found))
    run = _run(found, lambda *_: (text, 1))
    assert all(each.isprintable() for each in _texts(run))
    for message in _messages(run):
        assert "](" not in message.replace(r"\]", "")
        assert "{0}" not in message.replace("{{", "").replace("}}", "")


def _messages(run: dict[str, Any]) -> list[str]:
    results = [each["message"]["text"] for each in run["results"]]
    related = [
        place["message"]["text"]
        for each in run["results"]
        for place in each.get("relatedLocations", ())
    ]
    notes = run["invocations"][0]["toolExecutionNotifications"]
    return [*results, *related, *(each["message"]["text"] for each in notes)]
