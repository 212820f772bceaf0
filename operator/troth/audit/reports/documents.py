"""Reports for the API server: openreports.io, or wgpolicyk8s.io where only that is installed.

The namespace of a finding's subject gets one Report, in which people with rights in that namespace
read it. A ClusterReport has the findings about cluster-scoped objects, and all that rules could not
see; it always exists, so that it shows that somebody looked. A namespace without results has no
Report, because a rule that finds nothing does not prove that there is nothing.

Reports have no owner reference. An owner must be in the namespace of its dependents or
cluster-scoped, and Troth's Deployment is neither; the label `app.kubernetes.io/managed-by: troth`
says instead which ones `changes` may delete.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from troth.audit.evaluation import Evaluation
from troth.audit.finding import Unseen
from troth.audit.reports.results import (
    SOURCE,
    Result,
    excepted_result,
    finding_result,
    is_everywhere,
    namespaces_of,
    unseen_results,
)
from troth.audit.reports.text import MOST_EVIDENCE, plain
from troth.resources.references import Ref
from troth.world.facts.objects import MANAGED_BY

Manifest = dict[str, Any]

NAME = "troth-audit"
"""Name of a report. Further parts have the suffixes `-2`, `-3` and so on."""

LABELS = {
    "app.kubernetes.io/name": "troth",
    "app.kubernetes.io/component": "auditor",
    MANAGED_BY: "troth",
}

LARGEST = 900 * 1024
"""Bytes of a part as JSON. etcd takes requests of 1.5 MiB, and Troth stays below 1 MiB."""
MOST_RESULTS = 1000
"""Results in one part, so that a reporter's UI can show it."""
MOST_PARTS = 10
"""Parts of the report of one namespace, or of the cluster."""

_RESERVED = 2048
"""Bytes of a part for all but its results."""


@dataclass(frozen=True, slots=True)
class ReportAPI:
    """API of reports that a cluster serves."""

    api_version: str
    kind: str
    """Kind of a namespace's report."""
    cluster_kind: str
    has_source: bool
    """Whether a report names its source, besides each of its results."""


OPENREPORTS = ReportAPI(
    "openreports.io/v1alpha1",
    "Report",
    "ClusterReport",
    has_source=True,
)
WGPOLICY = ReportAPI(
    "wgpolicyk8s.io/v1alpha2",
    "PolicyReport",
    "ClusterPolicyReport",
    has_source=False,
)


def reports(
    evaluation: Evaluation,
    now: datetime,
    api: ReportAPI,
    first_seen: Mapping[str, datetime],
    about_audit: Iterable[Result] = (),
) -> list[Manifest]:
    """Return the reports of an evaluation: those of namespaces by name, then the cluster's.

    `first_seen` has the time of each finding by ID; a finding that it does not have was first seen
    `now`. Equal arguments give equal reports, and `now` does not matter if `first_seen` is complete
    (`changes.first_seen` reads it from the existing reports). `about_audit` are results about the
    audit itself, for the cluster's report.
    """
    by_namespace: dict[str, list[Result]] = {}
    for finding in evaluation.findings:
        here = by_namespace.setdefault(finding.subject.ref.namespace, [])
        here.append(finding_result(finding, first_seen, now))
    for finding, exception in evaluation.excepted:
        here = by_namespace.setdefault(finding.subject.ref.namespace, [])
        here.append(excepted_result(finding, exception, first_seen, now))
    of_cluster = [
        *about_audit,
        *unseen_results(evaluation.unseen),
        *by_namespace.pop("", ()),
    ]
    everywhere = [each for each in evaluation.unseen if is_everywhere(each)]
    local: dict[str, list[Unseen]] = {}
    for each in evaluation.unseen:
        for namespace in namespaces_of(each):
            local.setdefault(namespace, []).append(each)
    shared = unseen_results(everywhere)
    parts: list[Manifest] = []
    for namespace in sorted(by_namespace.keys() | local.keys()):
        missing = local.get(namespace)
        unseen = unseen_results([*everywhere, *missing]) if missing else shared
        parts += _report(api, namespace, [*unseen, *by_namespace.get(namespace, ())])
    return [*parts, *_report(api, "", of_cluster)]


def _report(api: ReportAPI, namespace: str, results: list[Result]) -> Iterator[Manifest]:
    """Yield the parts of one report."""
    parts = list(_parts(results))
    kept = parts[:MOST_PARTS]
    left_out = sum(map(len, parts[MOST_PARTS:]))
    if left_out:
        kept[-1] = [*kept[-1][:-1], _left_out(left_out + 1, namespace)]
    for number, part in enumerate(kept, start=1):
        yield _manifest(api, namespace, NAME if number == 1 else f"{NAME}-{number}", part)


def _parts(results: list[Result]) -> Iterator[list[Result]]:
    """Yield results in groups that fit into a report; at least one group."""
    part: list[Result] = []
    size = _RESERVED
    for result in results:
        more = _size(result)
        if part and (size + more > LARGEST or len(part) == MOST_RESULTS):
            yield part
            part, size = [], _RESERVED
        part.append(result)
        size += more
    yield part


def _size(result: Result) -> int:
    """Return the largest number of bytes that a JSON encoder makes of a result.

    Python escapes what is not ASCII, and Go the characters of HTML, with six bytes each.
    """
    text = json.dumps(result)
    return len(text) + 5 * sum(map(text.count, "<>&")) + 2


def not_written(api: ReportAPI, foreign: Sequence[Ref]) -> Result:
    """Return the result about reports of somebody else that have the names of Troth's."""
    named = ", ".join(f"{api.kind} {each}" for each in foreign[:MOST_EVIDENCE])
    left = len(foreign) - MOST_EVIDENCE
    more = f" and {left} more" if left > 0 else ""
    return _about_audit(
        "ReportNotWritten",
        "error",
        "a report is not managed by Troth, so it was not changed, and findings of its namespace "
        f"are in no report; rename it or delete it: {named}{more}",
    )


def connections_unseen(blind: Sequence[str]) -> Result:
    """Return the result about nodes whose connections could not be read, each with the reason.

    It is in the cluster's report alone: which nodes answer changes often, and would change every
    report.
    """
    named = "; ".join(blind[:MOST_EVIDENCE])
    left = len(blind) - MOST_EVIDENCE
    more = f"; and {left} more" if left > 0 else ""
    return _about_audit(
        "ConnectionsNotSeen",
        "warn",
        f"connections are missing in status.traffic of ServiceIdentities: {named}{more}",
    )


def _left_out(number: int, namespace: str) -> Result:
    where = f" --namespace {namespace}" if namespace else ""
    return _about_audit(
        "ResultsLeftOut",
        "error",
        f"{number} results do not fit into the reports and are left out, those of the lowest "
        f"severity first; run troth audit{where} to see all",
    )


def _about_audit(rule: str, result: str, message: str) -> Result:
    return {
        "source": SOURCE,
        "policy": NAME,
        "rule": rule,
        "result": result,
        "scored": False,
        "message": plain(message),
    }


def _manifest(api: ReportAPI, namespace: str, name: str, results: list[Result]) -> Manifest:
    outcomes = [each["result"] for each in results]
    manifest: Manifest = {
        "apiVersion": api.api_version,
        "kind": api.kind if namespace else api.cluster_kind,
        "metadata": {"name": name, "labels": dict(LABELS)},
        "summary": {
            each: outcomes.count(each) for each in ("pass", "fail", "warn", "error", "skip")
        },
        "results": results,
    }
    if namespace:
        manifest["metadata"]["namespace"] = namespace
        manifest["scope"] = {"apiVersion": "v1", "kind": "Namespace", "name": namespace}
    if api.has_source:
        manifest["source"] = SOURCE
    return manifest
