"""Reports for the API server: what they have, where they are, and how large they get."""

import json
import random
import re
from dataclasses import replace
from typing import Any

import pytest

from tests.audit.reports.building import (
    EARLIER,
    HOSTILE,
    NOW,
    RULE,
    TOKEN,
    evaluation,
    finding,
    hostile,
    with_rule,
)
from troth.audit.evaluation import Evaluation
from troth.audit.finding import Evidence, Finding, Object, Unseen
from troth.audit.reports.documents import (
    LARGEST,
    MOST_PARTS,
    MOST_RESULTS,
    OPENREPORTS,
    WGPOLICY,
    ReportAPI,
    reports,
)
from troth.resources.references import Ref
from troth.resources.reported import Severity

PODS = Unseen(RULE, ("Pod",), "the ServiceAccount may not list pods")
TRAFFIC = Unseen(RULE, ("traffic",), "nobody watches connections")

APIS = pytest.mark.parametrize("api", [OPENREPORTS, WGPOLICY], ids=lambda api: api.api_version)


def _reports(found: Evaluation, api: ReportAPI = OPENREPORTS) -> dict[str, dict[str, Any]]:
    """Return reports by namespace and name."""
    return {str(Ref.of(each)): each for each in reports(found, NOW, api, {})}


@APIS
def test_namespace_has_a_report_of_its_findings(api: ReportAPI) -> None:
    found = _reports(evaluation([finding(owner="payments")]), api)["shop/troth-audit"]
    assert (found["apiVersion"], found["kind"]) == (api.api_version, api.kind)
    assert found["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "troth"
    assert found["scope"] == {"apiVersion": "v1", "kind": "Namespace", "name": "shop"}
    assert found["summary"] == {"pass": 0, "fail": 1, "warn": 0, "error": 0, "skip": 0}
    (result,) = found["results"]
    assert result == {
        "source": "troth",
        "policy": "TR701",
        "rule": "DefaultServiceAccount",
        "category": "Identity",
        "severity": "medium",
        "result": "fail",
        "scored": True,
        "message": "Deployment shop/web: it runs as the ServiceAccount default; give it one of its "
        "own",
        "resources": [
            {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "namespace": "shop",
                "name": "web",
            }
        ],
        "properties": {
            "finding": finding().id,
            "owner": "payments",
            "evidence": "Deployment shop/web spec.template.spec.serviceAccountName: is default",
            "page": "https://troth-dev.github.io/troth/findings/TR701/",
        },
        "timestamp": {"seconds": int(NOW.timestamp()), "nanos": 0},
    }


def test_report_names_its_source_only_where_the_api_has_the_field() -> None:
    found = evaluation([finding()])
    assert _reports(found, OPENREPORTS)["shop/troth-audit"]["source"] == "troth"
    assert "source" not in _reports(found, WGPOLICY)["shop/troth-audit"]


def test_finding_about_a_cluster_scoped_object_is_in_the_cluster_report() -> None:
    found = _reports(evaluation([finding("prod", "", kind="TrustDomain")]))
    assert list(found) == ["troth-audit"]
    report = found["troth-audit"]
    assert report["kind"] == "ClusterReport"
    assert "scope" not in report
    assert report["results"][0]["resources"] == [
        {"apiVersion": "troth.dev/v1alpha1", "kind": "TrustDomain", "name": "prod"}
    ]


def test_cluster_report_exists_without_findings_and_has_no_pass() -> None:
    found = _reports(evaluation())
    assert list(found) == ["troth-audit"]
    assert found["troth-audit"]["results"] == []
    assert set(found["troth-audit"]["summary"].values()) == {0}


@pytest.mark.parametrize("severity", Severity)
def test_severity_decides_between_fail_and_warn(
    severity: Severity, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_rule(monkeypatch, "TR199", severity)
    (result,) = _reports(evaluation([finding(rule="TR199")]))["shop/troth-audit"]["results"]
    warns = severity in (Severity.LOW, Severity.INFO)
    assert (result["severity"], result["result"]) == (severity, "warn" if warns else "fail")
    assert result["scored"] is not warns


def test_severity_of_a_finding_counts_before_the_rules() -> None:
    one = replace(finding(), severity=Severity.LOW)
    (result,) = _reports(evaluation([one]))["shop/troth-audit"]["results"]
    assert (result["severity"], result["result"]) == ("low", "warn")


def test_excepted_finding_is_skipped_and_names_its_exception() -> None:
    report = _reports(evaluation(excepted=[(finding(), "shop/legacy")]))["shop/troth-audit"]
    (result,) = report["results"]
    assert (result["result"], result["properties"]["exception"]) == ("skip", "shop/legacy")
    assert report["summary"] == {"pass": 0, "fail": 0, "warn": 0, "error": 0, "skip": 1}


@APIS
def test_rule_that_may_not_read_a_kind_is_an_error_wherever_there_is_a_report(
    api: ReportAPI,
) -> None:
    found = _reports(evaluation([finding()], unseen=[PODS, TRAFFIC]), api)
    for report in found.values():
        assert report["results"][0]["result"] == "error"
        assert report["summary"]["error"] == 1
        assert report["summary"]["pass"] == 0
    sentence = (
        "TR701 was not evaluated in full, so that the absence of findings says nothing: Troth "
        "could not read Pod (the ServiceAccount may not list pods)"
    )
    assert found["shop/troth-audit"]["results"][0]["message"] == sentence
    assert (
        found["troth-audit"]["results"][0]["message"]
        == f"{sentence}; traffic (nobody watches connections)"
    )


def test_missing_traffic_is_a_warning_of_the_cluster_report_alone() -> None:
    found = _reports(evaluation([finding()], unseen=[TRAFFIC]))
    assert [each["result"] for each in found["troth-audit"]["results"]] == ["warn"]
    assert [each["result"] for each in found["shop/troth-audit"]["results"]] == ["fail"]


@pytest.mark.parametrize("place", ["broker messaging/main", "TopicPolicy messaging/orders"])
def test_broker_that_is_away_is_a_warning_of_its_namespace_and_the_cluster(place: str) -> None:
    away = Unseen(RULE, (place,), "it did not answer")
    found = _reports(evaluation([finding()], unseen=[away]))
    assert {name: each["summary"]["warn"] for name, each in found.items()} == {
        "messaging/troth-audit": 1,
        "shop/troth-audit": 0,
        "troth-audit": 1,
    }
    (result,) = found["messaging/troth-audit"]["results"]
    assert f"{place} (it did not answer)" in result["message"]


def test_rule_that_failed_in_a_namespace_is_an_error_of_it_and_the_cluster() -> None:
    failed = Unseen(RULE, ("namespace ledger",), "the rule failed")
    found = _reports(evaluation([finding()], unseen=[failed]))
    assert {name: each["summary"]["error"] for name, each in found.items()} == {
        "ledger/troth-audit": 1,
        "shop/troth-audit": 0,
        "troth-audit": 1,
    }


def test_namespace_of_an_absent_broker_also_has_the_kinds_that_could_not_be_read() -> None:
    away = Unseen(RULE, ("broker shop/main",), "it did not answer")
    (result,) = _reports(evaluation(unseen=[PODS, away]))["shop/troth-audit"]["results"]
    assert result["result"] == "error"
    assert "Pod (" in result["message"]
    assert "broker shop/main (" in result["message"]


def test_rule_that_failed_for_the_cluster_is_an_error_of_its_report_alone() -> None:
    failed = Unseen(RULE, ("the cluster",), "the rule failed")
    found = _reports(evaluation([finding()], unseen=[failed]))
    assert found["troth-audit"]["summary"]["error"] == 1
    assert found["shop/troth-audit"]["summary"]["error"] == 0


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_place_names_no_namespace(text: str) -> None:
    unseen = Unseen(RULE, (text, f"broker {text}/main", f"namespace {text}"), "it did not answer")
    assert list(_reports(evaluation(unseen=[unseen]))) == ["troth-audit"]


def test_many_unreadable_sources_are_one_bounded_result() -> None:
    blind = [Unseen(RULE, ("traffic",), f"node n{number} did not answer") for number in range(5000)]
    (result,) = _reports(evaluation(unseen=blind))["troth-audit"]["results"]
    assert len(result["message"]) <= 1024
    assert "and 4984 more" in result["message"]


def test_equal_findings_give_equal_bytes_at_any_time_and_in_any_order() -> None:
    findings = [finding(f"web-{number}", f"shop-{number % 3}") for number in range(20)]
    excepted = [(finding(f"old-{number}"), "shop/legacy") for number in range(20)]
    unseen = [PODS, TRAFFIC, Unseen(RULE, ("Deployment", "Job"), "forbidden")]
    seen = {each.id: EARLIER for each in [*findings, *(each for each, _ in excepted)]}
    first = reports(evaluation(findings, unseen, excepted), EARLIER, OPENREPORTS, seen)
    shuffled = random.Random(1)
    shuffled.shuffle(unseen)
    later = reports(evaluation(findings, unseen, excepted), NOW, OPENREPORTS, seen)
    assert json.dumps(first) == json.dumps(later)


def test_new_finding_has_the_present_time_and_a_known_one_keeps_its_own() -> None:
    known, new = finding("known"), finding("new")
    report, _ = reports(evaluation([known, new]), NOW, OPENREPORTS, {known.id: EARLIER})
    times = [each["timestamp"]["seconds"] for each in report["results"]]
    assert times == [int(EARLIER.timestamp()), int(NOW.timestamp())]


def _evidence(number: int, character: str) -> tuple[Evidence, ...]:
    place = Object("Deployment", Ref("shop", f"web-{number}"))
    return tuple(Evidence(place, f"spec.field[{each}]", character * 600) for each in range(40))


def _as_go_writes(report: dict[str, Any]) -> int:
    text = json.dumps(report, ensure_ascii=False)
    return len(re.sub("[<>&]", r"\\u003c", text).encode())


@APIS
@pytest.mark.parametrize("character", ["é", "<"])
def test_large_report_is_split_into_parts_below_one_mebibyte(
    api: ReportAPI, character: str
) -> None:
    many = [
        Finding(
            RULE,
            Object("Deployment", Ref("shop", f"web-{number}")),
            character * 2000,
            _evidence(number, character),
        )
        for number in range(100)
    ]
    found = _reports(evaluation(many), api)
    parts = [each for name, each in found.items() if name.startswith("shop/")]
    assert [each["metadata"]["name"] for each in parts][:3] == [
        "troth-audit",
        "troth-audit-2",
        "troth-audit-3",
    ]
    assert all(_as_go_writes(each) <= LARGEST < 1024 * 1024 for each in parts)
    assert all(len(json.dumps(each)) <= LARGEST for each in parts)
    shown = [each["properties"]["finding"] for part in parts for each in part["results"]]
    assert shown == [each.id for each in many]
    assert all(sum(each["summary"].values()) == len(each["results"]) for each in parts)


def test_evidence_and_message_of_a_result_are_bounded() -> None:
    one = Finding(RULE, Object("Deployment", Ref("shop", "web")), "m" * 5000, _evidence(0, "e"))
    (result,) = _reports(evaluation([one]))["shop/troth-audit"]["results"]
    assert len(result["message"]) == 1024
    lines = result["properties"]["evidence"].splitlines()
    assert [len(each) for each in lines[:-1]] == [512] * 16
    assert lines[-1] == "and 24 more"


def test_results_that_fit_into_no_part_are_the_least_severe_and_are_counted() -> None:
    many = [finding(f"web-{number}") for number in range(MOST_PARTS * MOST_RESULTS + 7)]
    found = _reports(evaluation(many))
    parts = [each for name, each in found.items() if name.startswith("shop/")]
    assert [len(each["results"]) for each in parts] == [MOST_RESULTS] * MOST_PARTS
    *shown, last = [each for part in parts for each in part["results"]]
    assert [each["properties"]["finding"] for each in shown] == [each.id for each in many[:-8]]
    assert last["result"] == "error"
    assert last["message"].startswith("8 results do not fit into the reports and are left out")
    assert "troth audit --namespace shop" in last["message"]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_names_and_evidence_are_printable_lines(text: str) -> None:
    found = _reports(
        evaluation([hostile(text)], [Unseen(RULE, (text,), text)], [(hostile(text), text)])
    )
    for report in found.values():
        for result in report["results"]:
            values = [
                result["message"],
                *result["properties"].values(),
                *(each for place in result.get("resources", ()) for each in place.values()),
            ]
            assert all(each.isprintable() for each in values)
            assert TOKEN not in json.dumps(result)
