"""What is written: only differences, and only what is Troth's."""

import json
from collections.abc import Iterable
from copy import deepcopy
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.audit.reports.building import EARLIER, NOW, evaluation, finding
from troth.audit.evaluation import Evaluation
from troth.audit.reports.changes import Change, Verb, first_seen, report_changes, times_of
from troth.audit.reports.documents import OPENREPORTS, WGPOLICY, ReportAPI, reports

Manifest = dict[str, Any]

WANTED = reports(evaluation([finding()]), NOW, OPENREPORTS, {})


def _stored(report: Manifest) -> Manifest:
    """Return a report as the API server returns it."""
    stored = json.loads(json.dumps(report))
    stored["metadata"] |= {
        "uid": "4c1e",
        "resourceVersion": "17",
        "generation": 1,
        "creationTimestamp": "2026-11-28T12:00:00Z",
        "managedFields": [{"manager": "troth-auditor"}],
    }
    return dict(sorted(stored.items()))


def _times(found: Evaluation, stored: Iterable[Manifest]) -> dict[str, datetime]:
    findings = [*found.findings, *(each for each, _ in found.excepted)]
    return times_of(findings, first_seen(stored, NOW))


def _verbs(changes: list[Change]) -> list[tuple[str, str, str]]:
    return [
        (each.verb.value, each.manifest["kind"], each.manifest["metadata"].get("namespace", ""))
        for each in changes
    ]


def test_reports_that_do_not_exist_are_created() -> None:
    assert report_changes(WANTED, []) == [Change(Verb.CREATE, each) for each in WANTED]


def test_equal_reports_cause_no_write() -> None:
    assert report_changes(WANTED, map(_stored, WANTED)) == []


def test_labels_of_others_cause_no_write() -> None:
    stored = [_stored(each) for each in WANTED]
    stored[0]["metadata"]["labels"]["example.com/team"] = "payments"
    assert report_changes(WANTED, stored) == []


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("results", []),
        ("summary", {"fail": 7}),
        ("scope", None),
        ("configuration", {"limits": {"maxResults": 1}}),
    ],
)
def test_changed_content_is_updated(member: str, value: object) -> None:
    stored = [_stored(each) for each in WANTED]
    stored[0][member] = value
    assert report_changes(WANTED, stored) == [Change(Verb.UPDATE, WANTED[0])]


def test_lost_label_is_restored() -> None:
    stored = [_stored(each) for each in WANTED]
    del stored[0]["metadata"]["labels"]["app.kubernetes.io/component"]
    assert report_changes(WANTED, stored) == [Change(Verb.UPDATE, WANTED[0])]


def test_report_of_a_namespace_without_findings_is_deleted_last() -> None:
    old = reports(evaluation([finding(), finding(namespace="old")]), NOW, OPENREPORTS, {})
    stored = [_stored(each) for each in old]
    new = reports(evaluation([finding(namespace="new")]), NOW, OPENREPORTS, {})
    assert _verbs(report_changes(new, stored)) == [
        ("create", "Report", "new"),
        ("delete", "Report", "old"),
        ("delete", "Report", "shop"),
    ]


def test_deletion_has_the_uid_of_the_report() -> None:
    (change,) = report_changes(WANTED[1:], map(_stored, WANTED))
    assert (change.verb, change.manifest["metadata"]["uid"]) == (Verb.DELETE, "4c1e")


def test_reports_of_the_older_api_are_deleted_once_the_newer_is_written() -> None:
    older = [_stored(each) for each in reports(evaluation([finding()]), NOW, WGPOLICY, {})]
    stored = [*map(_stored, WANTED), *older]
    assert _verbs(report_changes(WANTED, stored)) == [
        ("delete", "ClusterPolicyReport", ""),
        ("delete", "PolicyReport", "shop"),
    ]


def test_report_that_somebody_else_wrote_is_neither_overwritten_nor_deleted() -> None:
    foreign = [_stored(each) for each in WANTED]
    for each in foreign:
        each["metadata"]["labels"] = {"app.kubernetes.io/managed-by": "kyverno"}
    assert [each.verb for each in report_changes(WANTED, foreign)] == [Verb.CONFLICT] * 2
    del foreign[0]["metadata"]["labels"]
    assert report_changes([], foreign) == []


NAMES = st.sampled_from(["a", "b", "c"])
EVALUATIONS = st.lists(st.tuples(NAMES, NAMES), unique=True).map(
    lambda pairs: evaluation(finding(name, namespace) for name, namespace in sorted(pairs))
)


@given(EVALUATIONS, EVALUATIONS, st.sampled_from([OPENREPORTS, WGPOLICY]))
def test_applied_changes_leave_nothing_to_do(before: Any, after: Any, api: ReportAPI) -> None:
    stored = {_name(each): _stored(each) for each in reports(before, EARLIER, api, {})}
    seen = _times(after, stored.values())
    wanted = reports(after, NOW, OPENREPORTS, seen)
    for change in report_changes(wanted, stored.values()):
        if change.verb is Verb.DELETE:
            del stored[_name(change.manifest)]
        else:
            stored[_name(change.manifest)] = _stored(change.manifest)
    assert report_changes(wanted, stored.values()) == []
    assert sorted(stored) == sorted(map(_name, wanted))


def _name(report: Manifest) -> tuple[str, ...]:
    metadata = report["metadata"]
    return report["apiVersion"], report["kind"], metadata.get("namespace", ""), metadata["name"]


def test_auditor_that_starts_again_writes_nothing() -> None:
    stored = [_stored(each) for each in reports(evaluation([finding()]), EARLIER, OPENREPORTS, {})]
    again = reports(
        evaluation([finding()]), NOW, OPENREPORTS, _times(evaluation([finding()]), stored)
    )
    assert report_changes(again, stored) == []


def test_time_of_a_finding_in_two_reports_is_the_earlier() -> None:
    older = [_stored(each) for each in reports(evaluation([finding()]), EARLIER, WGPOLICY, {})]
    newer = [_stored(each) for each in WANTED]
    known = {("shop", finding().id): EARLIER}
    assert first_seen([*newer, *older], NOW) == first_seen([*older, *newer], NOW) == known


@pytest.mark.parametrize(
    "result",
    [
        None,
        "text",
        {},
        {"properties": {"finding": "TR701-1"}},
        {"properties": {"finding": "TR701-1"}, "timestamp": {"seconds": "1"}},
        {"properties": {"finding": "TR701-1"}, "timestamp": {"seconds": True}},
        {"properties": {"finding": "TR701-1"}, "timestamp": {"seconds": 2**62}},
        {"properties": {"finding": ["TR701-1"]}, "timestamp": {"seconds": 1}},
        {"properties": "TR701-1", "timestamp": {"seconds": 1}},
    ],
)
def test_malformed_results_have_no_time(result: object) -> None:
    report = _stored(WANTED[0]) | {"results": [result]}
    assert first_seen([report], NOW) == {}


def test_reports_of_others_have_no_times() -> None:
    foreign = deepcopy(WANTED[0])
    foreign["metadata"]["labels"] = {}
    assert first_seen([foreign], NOW) == {}


@pytest.mark.parametrize("name", ["troth-audit-x", "mine", "troth-audit-", "a-troth-audit"])
def test_reports_of_other_names_have_no_times(name: str) -> None:
    forged = _stored(WANTED[0])
    forged["metadata"]["name"] = name
    assert first_seen([forged], NOW) == {}


@pytest.mark.parametrize("name", ["troth-audit", "troth-audit-2", "troth-audit-10"])
def test_every_part_of_a_report_has_times(name: str) -> None:
    part = _stored(WANTED[0])
    part["metadata"]["name"] = name
    assert list(first_seen([part], NOW)) == [("shop", finding().id)]


def test_report_says_nothing_about_findings_of_another_namespace() -> None:
    forged = _stored(reports(evaluation([finding()]), EARLIER, OPENREPORTS, {})[0])
    forged["metadata"]["namespace"] = "tenant"
    assert times_of([finding()], first_seen([forged], NOW)) == {}


def test_time_in_the_future_is_left_out() -> None:
    assert first_seen(WANTED, EARLIER) == {}


def test_times_are_in_utc() -> None:
    (seen,) = first_seen(WANTED, NOW).values()
    assert seen == datetime(2026, 11, 28, 12, tzinfo=UTC)
