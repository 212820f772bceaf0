"""Reports, judged by the CRDs that their projects publish, at a real API server."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from sandbox import CommandError, Sandbox
from tests.audit.reports.building import (
    HOSTILE,
    NOW,
    RULE,
    evaluation,
    finding,
)
from tests.cluster.conftest import separate_sandbox
from tests.cluster.findings.report_crds import install_reports
from troth.audit.evaluation import Evaluation
from troth.audit.finding import Evidence, Finding, Object, Unseen
from troth.audit.reports.changes import first_seen, report_changes, times_of
from troth.audit.reports.documents import LARGEST, OPENREPORTS, WGPOLICY, ReportAPI, reports
from troth.cluster.resources import resource_of
from troth.resources.references import Ref

Manifest = dict[str, Any]

APIS = pytest.mark.parametrize("api", [OPENREPORTS, WGPOLICY], ids=lambda api: api.api_version)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    for started in separate_sandbox():
        for api in (OPENREPORTS, WGPOLICY):
            install_reports(started, _group(api))
        yield started


def _group(api: ReportAPI) -> str:
    return api.api_version.partition("/")[0]


def _resource(kind: str) -> str:
    """Return the name of a kind for kubectl, with its group."""
    resource = resource_of(kind)
    return f"{resource.name}.{resource.group}"


def _apply(sandbox: Sandbox, manifests: list[Manifest]) -> None:
    """Apply manifests as the auditor does; the API server rejects unknown fields."""
    listed = {"apiVersion": "v1", "kind": "List", "items": manifests}
    sandbox.kubectl(
        *("apply", "--server-side", "--field-manager=troth-auditor", "-f", "-"),
        stdin=json.dumps(listed),
    )


def _stored(sandbox: Sandbox, api: ReportAPI, namespace: str) -> list[Manifest]:
    """Return the reports of a namespace and of the cluster; those of other tests are left out."""
    kinds = ",".join(map(_resource, (api.kind, api.cluster_kind)))
    found = json.loads(sandbox.kubectl("get", kinds, "--all-namespaces", "-o", "json"))["items"]
    return [each for each in found if each["metadata"].get("namespace", namespace) == namespace]


def _versions(stored: list[Manifest]) -> list[str]:
    return [each["metadata"]["resourceVersion"] for each in stored]


PODS = Unseen(RULE, ("Pod",), "the ServiceAccount troth-auditor may not list pods")


def _evaluation(namespace: str) -> Evaluation:
    findings = [
        finding("web", namespace, owner="payments"),
        finding("prod", "", kind="TrustDomain"),
    ]
    return evaluation(findings, [PODS], [(finding("legacy", namespace), f"{namespace}/legacy")])


@APIS
def test_published_crds_accept_the_reports_and_keep_every_member(
    sandbox: Sandbox, api: ReportAPI, namespace: str
) -> None:
    wanted = reports(_evaluation(namespace), NOW, api, {})
    _apply(sandbox, wanted)
    stored = _stored(sandbox, api, namespace)
    assert report_changes(wanted, stored) == []
    later = datetime(2027, 1, 1, tzinfo=UTC)
    found = _evaluation(namespace)
    findings = [*found.findings, *(each for each, _ in found.excepted)]
    seen = times_of(findings, first_seen(stored, later))
    again = reports(found, later, api, seen)
    assert report_changes(again, stored) == []


@APIS
def test_applying_equal_reports_changes_no_object(
    sandbox: Sandbox, api: ReportAPI, namespace: str
) -> None:
    wanted = reports(_evaluation(namespace), NOW, api, {})
    _apply(sandbox, wanted)
    before = _versions(_stored(sandbox, api, namespace))
    _apply(sandbox, wanted)
    assert [
        each["metadata"]["resourceVersion"] for each in _stored(sandbox, api, namespace)
    ] == before


@APIS
def test_kubectl_shows_the_counts(sandbox: Sandbox, api: ReportAPI, namespace: str) -> None:
    _apply(sandbox, reports(_evaluation(namespace), NOW, api, {}))
    header, row = sandbox.kubectl("get", _resource(api.kind), "-n", namespace).splitlines()
    shown = dict(zip(header.split(), row.split(), strict=False))
    assert [shown[each] for each in ("NAME", "PASS", "FAIL", "WARN", "ERROR", "SKIP")] == [
        *("troth-audit", "0", "1", "0", "1", "1")
    ]
    wide = sandbox.kubectl("get", _resource(api.kind), "-n", namespace, "-o", "wide")
    assert f"Namespace   {namespace}" in wide


@APIS
@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_names_are_accepted_and_kubectl_prints_them_without_control_characters(
    sandbox: Sandbox, api: ReportAPI, namespace: str, text: str
) -> None:
    place = Object("Ingress", Ref(namespace, "shop"))
    shows = Evidence(place, "metadata.annotations", f"is {text}")
    one = Finding(RULE, place, f"it has {text}", (shows,), owner=text)
    _apply(sandbox, reports(evaluation([one]), NOW, api, {}))
    for output in ("yaml", "jsonpath={.results[*].message}{.results[*].properties}"):
        kind = _resource(api.kind)
        printed = sandbox.kubectl("get", kind, "-n", namespace, "troth-audit", "-o", output)
        assert all(each.isprintable() or each == "\n" for each in printed)


@APIS
def test_largest_report_is_accepted(sandbox: Sandbox, api: ReportAPI, namespace: str) -> None:
    many = [
        Finding(
            RULE,
            place := Object("Deployment", Ref(namespace, f"web-{number}")),
            "<" * 2000,
            tuple(Evidence(place, f"spec.field[{each}]", "é<&" * 200) for each in range(40)),
        )
        for number in range(60)
    ]
    wanted = reports(evaluation(many), NOW, api, {})
    assert max(len(json.dumps(each)) for each in wanted) > LARGEST / 4
    _apply(sandbox, wanted)
    stored = _stored(sandbox, api, namespace)
    assert len(wanted) > 2
    assert report_changes(wanted, stored) == []


@APIS
@pytest.mark.parametrize(
    "spoilt", [{"result": "failed"}, {"severity": "moderate"}, {"timestamp": {"seconds": 1}}]
)
def test_published_crds_reject_a_spoilt_result(
    sandbox: Sandbox, api: ReportAPI, namespace: str, spoilt: Manifest
) -> None:
    first, *_ = reports(_evaluation(namespace), NOW, api, {})
    first["results"][0] |= spoilt
    with pytest.raises(CommandError):
        _apply(sandbox, [first])
