"""Events about findings."""

from dataclasses import replace

from tests.audit.reports.building import HOSTILE, TOKEN
from tests.builders import NOW
from troth.audit.finding import Finding, Object
from troth.audit.registry import RULES
from troth.auditor.events import NOTE_LIMIT, event, worth_an_event
from troth.resources.references import Ref
from troth.resources.reported import Severity

RULE = RULES[0]


def about(kind: str, ref: Ref, message: str = "mend it") -> Finding:
    return Finding(RULE.id, Object(kind, ref), message)


def test_event_names_the_subject_and_the_finding() -> None:
    finding = about("Deployment", Ref("shop", "web"))
    made = event(finding, "a-uid", "auditor", NOW)
    assert made["regarding"] == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "name": "web",
        "namespace": "shop",
        "uid": "a-uid",
    }
    assert made["metadata"]["namespace"] == "shop"
    assert made["reason"] == RULE.name
    assert made["note"] == f"{finding.id}: mend it"


def test_event_about_a_cluster_scoped_object_is_in_the_namespace_default() -> None:
    made = event(about("TrustDomain", Ref("", "production")), "", "auditor", NOW)
    assert made["metadata"]["namespace"] == "default"
    assert made["regarding"].keys() == {"apiVersion", "kind", "name"}


def test_long_names_and_messages_are_cut() -> None:
    made = event(about("Pod", Ref("shop", "p" * 253), "m" * 5000), "", "auditor", NOW)
    assert len(made["note"].encode()) <= NOTE_LIMIT
    assert len(made["metadata"]["name"]) <= 253


def test_note_of_characters_with_several_bytes_is_cut_to_the_limit() -> None:
    note = event(about("Pod", Ref("shop", "web"), "ü€" * 600), "", "auditor", NOW)["note"]
    assert NOTE_LIMIT - 3 <= len(note.encode()) <= NOTE_LIMIT


def test_hostile_text_and_tokens_are_escaped_in_a_note() -> None:
    for hostile in HOSTILE:
        note = event(about("Pod", Ref("shop", "web"), hostile), "", "auditor", NOW)["note"]
        assert note.isprintable()
        assert TOKEN not in note


def test_event_about_a_kind_of_another_operator_names_no_version() -> None:
    made = event(about("StrimziPodSet", Ref("shop", "kafka")), "", "auditor", NOW)
    assert made["regarding"] == {"kind": "StrimziPodSet", "name": "kafka", "namespace": "shop"}


def test_only_high_and_critical_findings_are_worth_an_event() -> None:
    findings = [Finding(each.id, Object("Pod", Ref("shop", "web")), "") for each in RULES]
    told = {each.rule for each in worth_an_event(findings)}
    severe = {Severity.CRITICAL, Severity.HIGH}
    assert told == {each.id for each in RULES if each.severity in severe}


def test_severity_of_a_finding_counts_before_that_of_its_rule() -> None:
    worse, milder = (
        replace(about("Pod", Ref("shop", "web")), severity=each)
        for each in (Severity.CRITICAL, Severity.LOW)
    )
    assert list(worth_an_event([worse, milder])) == [worse]


def test_name_that_is_cut_at_a_dash_or_a_dot_is_still_a_name() -> None:
    for cut in ("a" * 199 + "-" + "b" * 50, "a" * 198 + ".-" + "b" * 50):
        name = event(about("Pod", Ref("shop", cut)), "", "auditor", NOW)["metadata"]["name"]
        assert all(part.strip("-") == part and part for part in name.split("."))
