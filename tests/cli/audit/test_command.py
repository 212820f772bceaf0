"""`troth audit` over files: what it prints, and what its exit code means."""

import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.audit.reports import oasis
from tests.builders import Manifest, finding_exception, stamp
from tests.cli.audit.shop import audited, deployment, subjects
from tests.cli.running import troth
from troth.audit.registry import RULE_BY_ID, RULES
from troth.resources.manifests import dump

NOW = datetime.now(UTC)
RUNNING = deployment(account="web")
"""A Deployment without a finding."""


def report(*manifests: Manifest, arguments: tuple[str, ...] = ()) -> Any:
    return json.loads(audited(*manifests, arguments=("-o", "json", *arguments)).output)


def test_manifests_without_findings_are_clean() -> None:
    ended = audited(RUNNING)
    assert (ended.code, ended.output, ended.errors) == (0, "no findings\n", "")


def test_finding_has_its_rule_subject_message_evidence_line_and_owner() -> None:
    web = deployment()
    web["spec"]["template"]["metadata"]["annotations"] = {"team": "storefront"}
    ended = audited(web, arguments=("-o", "text"))
    text = " ".join(ended.output.split())
    assert "medium TR701 DefaultServiceAccount" in text
    assert re.search(r"Deployment shop/web TR701-[0-9a-f]{16} owner storefront", text)
    assert "it runs as the ServiceAccount default" in text
    assert re.search(r"spec\.template\.spec\.serviceAccountName: is default <stdin>:\d+", text)
    assert "1 finding: 1 medium" in text


def test_report_ends_with_the_command_that_shows_a_fix(tmp_path: Path) -> None:
    folder = tmp_path / "my manifests"
    folder.mkdir()
    (folder / "web.yaml").write_text(dump(deployment()))
    last = troth("audit", "-f", str(folder)).lines[-1]
    identifier = report(deployment())["findings"][0]["id"]
    assert last == f"See a fix: troth audit -f '{folder}' --fix {identifier}"


def test_lines_are_readable_at_a_hundred_columns() -> None:
    named = deployment("a-workload-with-a-name-that-is-as-long-as-names-of-workloads-get")
    *lines, _ = audited(named).lines
    assert max(map(len, lines)) <= 100


def test_no_line_ends_with_spaces() -> None:
    shared = [deployment("a-workload-with-quite-a-long-name-" * 2 + str(n)) for n in range(2)]
    output = audited(*shared, arguments=("-o", "text")).output
    assert "\n    " in output
    assert [each for each in output.splitlines() if each != each.rstrip()] == []


@pytest.mark.parametrize(
    ("fail_on", "code"), [("critical", 0), ("high", 0), ("medium", 1), ("low", 1), ("info", 1)]
)
def test_exit_code_depends_on_the_least_severity(fail_on: str, code: int) -> None:
    assert audited(deployment(), arguments=("--fail-on", fail_on)).code == code


def test_finding_of_high_severity_is_needed_by_default() -> None:
    assert audited(deployment()).code == 0


def test_report_does_not_depend_on_the_order_of_manifests() -> None:
    manifests = [deployment(name, place) for name in ("b", "a") for place in ("shop", "bank")]
    one, other = report(*manifests), report(*reversed(manifests))
    assert subjects(one) == subjects(other)
    assert subjects(one) == sorted(subjects(one))


def test_members_of_the_json_report_are_always_the_same() -> None:
    """People write programs that read it."""
    document = report(deployment())
    assert list(document) == ["findings", "excepted", "unseen", "faults", "summary"]
    (finding,) = document["findings"]
    assert list(finding) == [
        *("id", "rule", "name", "severity", "subject", "about", "message", "owner", "file", "line"),
        *("evidence", "page"),
    ]
    assert list(finding["subject"]) == ["kind", "namespace", "name"]
    assert list(finding["evidence"][0]) == ["object", "field", "shows", "file", "line"]
    assert list(document["summary"]) == [
        *("critical", "high", "medium", "low", "info", "excepted", "files", "complete"),
    ]
    assert report(RUNNING).keys() == document.keys()


def test_yaml_report_is_the_json_report() -> None:
    ended = audited(deployment(), arguments=("-o", "yaml"))
    assert yaml.safe_load(ended.output) == report(deployment())


def test_markdown_report_links_the_rule() -> None:
    text = audited(deployment(), arguments=("-o", "markdown")).output
    assert "1 finding: 1 medium." in text
    assert "[TR701 DefaultServiceAccount](https://" in text


def test_sarif_report_is_valid_and_has_paths_below_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "web.yaml").write_text(dump(deployment()))
    (tmp_path / "exception.yaml").write_text(dump(finding_exception(now=NOW, rules=["TR702"])))
    log = json.loads(troth("audit", "-f", str(tmp_path), "-o", "sarif").output)
    assert oasis.faults(log) == []
    (run,) = log["runs"]
    (result,) = run["results"]
    location = result["locations"][0]["physicalLocation"]
    assert location["artifactLocation"]["uri"] == "web.yaml"
    assert location["region"]["startLine"] > 1
    assert run["invocations"][0]["executionSuccessful"] is True


def test_every_result_of_a_sarif_report_has_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An object in standard input is in no file."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "web.yaml").write_text(dump(deployment()))
    log = json.loads(audited(deployment("api"), arguments=("-f", "web.yaml", "-o", "sarif")).output)
    alone = json.loads(audited(deployment(), arguments=("-o", "sarif")).output)
    assert oasis.faults(log) == oasis.faults(alone) == []
    assert all(
        each["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "web.yaml"
        for each in log["runs"][0]["results"]
    )
    assert len(log["runs"][0]["results"]) == 2
    assert alone["runs"][0]["results"] == []


def test_sarif_report_says_what_was_not_evaluated(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("kind: [")
    log = json.loads(troth("audit", "-f", str(tmp_path), "-o", "sarif").output)
    assert oasis.faults(log) == []
    (invocation,) = log["runs"][0]["invocations"]
    assert invocation["executionSuccessful"] is False
    assert "a.yaml" in invocation["toolExecutionNotifications"][-1]["message"]["text"]


# Rules


def test_rule_option_evaluates_that_rule_alone() -> None:
    expired = finding_exception(expiresAt="2020-01-01T00:00:00Z")
    both = report(deployment(), expired)
    assert subjects(both) == ["TR701 shop/web", "TR506 shop/legacy"]
    for name in ("TR506", "tr506", "ExpiredFindingException"):
        one = report(deployment(), expired, arguments=("--rule", name))
        assert subjects(one) == ["TR506 shop/legacy"]


def test_unknown_rule_is_rejected_with_the_one_that_is_meant() -> None:
    ended = audited(deployment(), arguments=("--rule", "TR7O1"))
    assert ended.code == 2
    assert "did you mean TR701?" in ended.errors


def test_every_rule_is_listed_and_explained() -> None:
    listed = troth("audit", "--list-rules").lines
    assert [each.split()[0] for each in listed] == [rule.id for rule in RULES]
    document = json.loads(troth("audit", "--list-rules", "-o", "json").output)
    assert [each["id"] for each in document["rules"]] == [rule.id for rule in RULES]
    for rule in RULES:
        text = troth("audit", "--explain", rule.id).output
        assert rule.name in text
        assert f"/findings/{rule.id}/" in text


def test_finding_is_explained_by_its_rule() -> None:
    assert troth("audit", "--explain", "TR701-1f0c3a9b55e0d3c1").output.startswith("TR701 ")


def test_rule_that_fails_is_never_clean_and_the_others_are_evaluated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def find(*_: object) -> Any:
        raise LookupError(CANARY)

    broken = replace(RULE_BY_ID["TR506"], find=find)
    monkeypatch.setitem(RULE_BY_ID, "TR506", broken)
    ended = audited(deployment(), arguments=("-o", "json", "--rule", "TR506", "--rule", "TR701"))
    assert (ended.code, ended.errors) == (3, "")
    document = json.loads(ended.output)
    assert subjects(document) == ["TR701 shop/web"]
    assert document["summary"]["complete"] is False
    (unseen,) = document["unseen"]
    assert unseen["rule"] == "TR506"
    assert "LookupError" in unseen["reason"]
    assert CANARY not in ended.output


# Exceptions


def test_excepted_finding_is_counted_and_not_reported() -> None:
    ended = audited(deployment(), finding_exception(now=NOW), arguments=("--fail-on", "info"))
    assert (ended.code, ended.output) == (0, "no findings; 1 excepted\n")


def test_excepted_finding_is_shown_with_its_exception_on_request() -> None:
    exception = finding_exception(now=NOW)
    text = audited(deployment(), exception, arguments=("--show-excepted",)).output
    assert "Deployment shop/web" in text
    assert "FindingException shop/legacy" in text
    document = report(deployment(), exception)
    assert [each["exception"] for each in document["excepted"]] == ["shop/legacy"]


def test_exceptions_can_be_left_out() -> None:
    arguments = ("--no-exceptions", "--fail-on", "medium")
    ended = audited(deployment(), finding_exception(now=NOW), arguments=arguments)
    assert ended.code == 1
    assert "1 finding: 1 medium" in ended.output


def test_expired_exception_accepts_nothing() -> None:
    expired = finding_exception(expiresAt=stamp(NOW))
    assert subjects(report(deployment(), expired)) == ["TR701 shop/web", "TR506 shop/legacy"]


# Namespaces


def test_namespace_option_reports_that_namespace_and_places_manifests_without_one() -> None:
    bare = deployment()
    del bare["metadata"]["namespace"]
    other = deployment("api", "bank")
    assert subjects(report(bare, other)) == ["TR701 bank/api", "TR701 default/web"]
    assert subjects(report(bare, other, arguments=("-n", "shop"))) == ["TR701 shop/web"]


# Input that cannot be read


def test_no_input_is_an_error_with_what_to_write() -> None:
    ended = troth("audit")
    assert ended.code == 2
    assert "name manifests with -f, or a cluster with --kubeconfig" in " ".join(
        ended.errors.split()
    )


def test_unreadable_file_is_never_clean_and_the_others_are_evaluated(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("kind: [")
    (tmp_path / "b.yaml").write_text(dump(deployment()))
    ended = troth("audit", "-f", str(tmp_path))
    assert ended.code == 2
    assert f"{tmp_path}/a.yaml" in ended.errors
    assert "Deployment shop/web" in ended.output


@pytest.mark.parametrize(
    "text",
    [
        "kind: [",
        "just text",
        "\x00",
        "apiVersion: v1\nkind: Service\n",
        "apiVersion: v1\nkind: Service\nmetadata: 7\n",
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a, labels: [b]}\n",
        "apiVersion: troth.dev/v1alpha1\nkind: ServiceIdentity\nmetadata: {name: a}\nspec: {}\n",
        "apiVersion: troth.dev/v9\nkind: FindingException\nmetadata: {name: a}\n",
    ],
)
def test_input_that_was_not_evaluated_is_never_clean(text: str) -> None:
    ended = troth("audit", "-f", "-", "--allow-unseen", given=text.encode())
    assert ended.code == 2
    assert ended.output == "no findings in what was seen\n"
    assert len(ended.errors.splitlines()) >= 1
    assert "Traceback" not in ended.errors


@pytest.mark.parametrize(
    "manifest",
    [
        "apiVersion: serving.knative.dev/v1\nkind: Service\nmetadata: 7\n",
        "apiVersion: example.org/v1\nkind: Widget\nmetadata: {a: 1, a: 2}\n",
        "apiVersion: networking.istio.io/v1\nkind: Gateway\nspec: 7\n",
    ],
)
def test_kinds_that_no_rule_reads_are_ignored(manifest: str) -> None:
    assert troth("audit", "-f", "-", given=manifest.encode()).code == 0


def test_object_that_is_defined_twice_is_evaluated_once_and_said() -> None:
    ended = audited(RUNNING, deployment())
    assert ended.code == 2
    assert "defined twice" in ended.errors
    assert audited(RUNNING, RUNNING).code == 0, "the same text twice is the same object"


def test_list_and_generated_name_are_read() -> None:
    job = {**deployment(), "apiVersion": "batch/v1", "kind": "Job"}
    job["metadata"] = {"generateName": "import-", "namespace": "shop"}
    listed = {"apiVersion": "v1", "kind": "List", "items": [deployment(), job]}
    assert subjects(report(listed)) == ["TR701 shop/web", "TR701 shop/import-"]


# Hostile input


HOSTILE = [
    "\x1b[31mred\x1b[0m",
    "\u202etxet",
    "a\n::error::b",
    "$(touch /tmp/x)",
    "'; touch /tmp/x; '",
    "--all",
    "x" * 300,
]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_name_cannot_control_a_terminal(name: str) -> None:
    ended = audited(deployment(name), arguments=("--fail-on", "info"))
    assert ended.code == 1
    for character in ("\x1b", "\u202e", "\n::error"):
        assert character not in ended.output + ended.errors


def test_no_escape_sequence_is_printed_with_no_color(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b" not in audited(deployment()).output


CANARY = "canary-1f0c3a9b"


@pytest.mark.parametrize("form", ["text", "json", "yaml", "markdown", "sarif"])
def test_content_of_secrets_and_configuration_is_in_no_report(form: str) -> None:
    web = deployment()
    container = web["spec"]["template"]["spec"]["containers"][0]
    container["env"] = [{"name": "PASSWORD", "value": CANARY}]
    web["metadata"]["annotations"] = {
        "kubectl.kubernetes.io/last-applied-configuration": json.dumps({"data": CANARY})
    }
    metadata = {"name": "orders", "namespace": "shop"}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata}
    secret |= {"data": {"password": CANARY}, "stringData": {"token": CANARY}}
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}
    config |= {"data": {"password": CANARY}}
    broken = {**secret, "metadata": {**metadata, "labels": [CANARY]}}
    ended = audited(web, secret, config, broken, arguments=("-o", form))
    assert CANARY not in ended.output + ended.errors
    assert "web" in ended.output
