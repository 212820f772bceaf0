"""Results of a Kubernetes report: one for each finding, exception and rule that saw too little."""

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from itertools import groupby
from typing import Any

from troth.audit.evaluation import severity_of
from troth.audit.finding import Finding, Object, Unseen
from troth.audit.registry import RULE_BY_ID
from troth.audit.reports import text
from troth.audit.reports.categories import category_of
from troth.resources.kinds import KIND_BY_NAME
from troth.resources.metadata import API_VERSION
from troth.resources.reported import Severity

Result = dict[str, Any]

SOURCE = "troth"
FINDING = "finding"
"""Name of the property that has the ID of a finding."""

FAILS = frozenset({Severity.CRITICAL, Severity.HIGH, Severity.MEDIUM})
"""Severities with the result `fail`. The others have `warn`, which does not count as scored."""

_KIND = re.compile(r"[A-Z][A-Za-z0-9]*")
_NAMESPACED = re.compile(r"namespace (?P<all>[a-z0-9-]+)|[A-Za-z]+ (?P<one>[a-z0-9-]+)/\S+")
_CLUSTER = "the cluster"

API_VERSIONS = {
    **dict.fromkeys(KIND_BY_NAME, API_VERSION),
    "FindingException": API_VERSION,
    **dict.fromkeys(
        ("ConfigMap", "Namespace", "Node", "Pod", "Secret", "Service", "ServiceAccount"), "v1"
    ),
    **dict.fromkeys(("DaemonSet", "Deployment", "ReplicaSet", "StatefulSet"), "apps/v1"),
    **dict.fromkeys(("CronJob", "Job"), "batch/v1"),
    **dict.fromkeys(("Ingress", "NetworkPolicy"), "networking.k8s.io/v1"),
    **dict.fromkeys(("Gateway", "GatewayClass", "HTTPRoute"), "gateway.networking.k8s.io/v1"),
    **dict.fromkeys(("AuthorizationPolicy", "RequestAuthentication"), "security.istio.io/v1"),
    "VirtualService": "networking.istio.io/v1",
    "Certificate": "cert-manager.io/v1",
    "Middleware": "traefik.io/v1alpha1",
    "SecurityPolicy": "gateway.envoyproxy.io/v1alpha1",
}
"""API versions of subjects by kind. A result names no version of another kind."""


def finding_result(finding: Finding, first_seen: Mapping[str, datetime], now: datetime) -> Result:
    """Return the result of a finding, `fail` or `warn` by its severity."""
    fails = severity_of(finding) in FAILS
    return {
        **_common(finding, first_seen.get(finding.id, now)),
        "result": "fail" if fails else "warn",
        "scored": fails,
    }


def excepted_result(
    finding: Finding, exception: str, first_seen: Mapping[str, datetime], now: datetime
) -> Result:
    """Return the result `skip` of a finding that a FindingException covers."""
    result = _common(finding, first_seen.get(finding.id, now))
    properties = {**result["properties"], "exception": text.plain(exception)}
    return {**result, "result": "skip", "scored": False, "properties": properties}


def unseen_results(unseen: Iterable[Unseen]) -> list[Result]:
    """Return one result for each rule that could not see all that it needs; never `pass`.

    It is `error` if a kind could not be read, or the rule failed. Brokers are
    `warn`, because not all clusters have them.
    """
    ordered = sorted(unseen, key=lambda each: (each.rule, each.kinds, each.reason))
    return [
        _unseen_result(rule, tuple(group))
        for rule, group in groupby(ordered, key=lambda each: each.rule)
    ]


def is_everywhere(unseen: Unseen) -> bool:
    """Return whether it is a kind that could not be read, which concerns every namespace."""
    return any(map(_KIND.fullmatch, unseen.kinds))


def namespaces_of(unseen: Unseen) -> set[str]:
    """Return the namespaces that it names, such as `shop` in `broker shop/main`."""
    found = filter(None, map(_NAMESPACED.fullmatch, unseen.kinds))
    return {each["all"] or each["one"] for each in found}


def _is_error(place: str) -> bool:
    failed = place == _CLUSTER or place.startswith("namespace ")
    return failed or _KIND.fullmatch(place) is not None


def _unseen_result(rule: str, missing: tuple[Unseen, ...]) -> Result:
    error = any(_is_error(place) for each in missing for place in each.kinds)
    return {
        "source": SOURCE,
        "policy": rule,
        "rule": RULE_BY_ID[rule].name,
        "category": category_of(rule),
        "severity": RULE_BY_ID[rule].severity.value,
        "result": "error" if error else "warn",
        "scored": False,
        "message": text.unseen(rule, missing),
        "properties": {"page": text.page_of(rule)},
    }


def _common(finding: Finding, seen: datetime) -> Result:
    rule = RULE_BY_ID[finding.rule]
    evidence = "\n".join(text.evidence(finding.evidence))
    properties = {
        FINDING: finding.id,
        "owner": text.plain(finding.owner),
        "evidence": evidence,
        "page": text.page_of(rule.id),
    }
    return {
        "source": SOURCE,
        "policy": rule.id,
        "rule": rule.name,
        "category": category_of(rule.id),
        "severity": severity_of(finding).value,
        "message": text.message(finding),
        "resources": [_reference(finding.subject)],
        "properties": {name: value for name, value in properties.items() if value},
        "timestamp": {"seconds": int(seen.timestamp()), "nanos": 0},
    }


def _reference(subject: Object) -> dict[str, str]:
    kind, ref = subject
    reference = {
        "apiVersion": API_VERSIONS.get(kind, ""),
        "kind": kind,
        "namespace": ref.namespace,
        "name": ref.name,
    }
    return {name: text.plain(value) for name, value in reference.items() if value}
