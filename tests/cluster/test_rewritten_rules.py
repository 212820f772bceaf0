"""Rules that were rewritten to cost the API server less reject what they rejected before.

Each row was rejected with the rule that it had before; the API server and the model must agree.
"""

from typing import Any

import pytest

from tests import builders
from tests.changed_manifests import changed
from tests.cluster.agreement import check
from tests.cluster.dry_run import DryRun
from tests.cluster.manifests import Manifest

IDENTITY = builders.identity(namespace="default", ports=["https", ("grpc", 9443)])
NO_PORTS = changed(IDENTITY, "spec.workload.ports", None)
EMPTY_PORTS = changed(IDENTITY, "spec.workload.ports", [])
ACCEPTS = [builders.accept("a", "https"), builders.accept("b", "grpc")]
EXTERNAL = {"host": "api.example.com", "cidrs": ["203.0.113.0/24"], "ports": [443]}
PORTS = "declare under workload.ports every port that accepts or exceptions name"
CALL_PORTS = "set ports, the names of the callee's ports, if and only if to is set"
SCOPES = "remove scopes; only calls with to have them"


@pytest.mark.parametrize(
    ("manifest", "path", "value", "message"),
    [
        (IDENTITY, "spec.accepts", [*ACCEPTS, builders.accept("c", "admin")], PORTS),
        (IDENTITY, "spec.accepts", [builders.accept("a", "https", "admin")], PORTS),
        (IDENTITY, "spec.exceptions", {"probes": ["admin"]}, PORTS),
        (IDENTITY, "spec.exceptions", {"metrics": ["https", "admin"]}, PORTS),
        (IDENTITY, "spec.exceptions", {"probes": ["https"], "metrics": ["admin"]}, PORTS),
        (NO_PORTS, "spec.accepts", ACCEPTS, PORTS),
        (EMPTY_PORTS, "spec.accepts", ACCEPTS, PORTS),
        (NO_PORTS, "spec.exceptions", {"probes": ["https"]}, PORTS),
        (NO_PORTS, "spec.exceptions", {"metrics": ["https"]}, PORTS),
        (IDENTITY, "spec.calls", [{"to": {"name": "a"}}], CALL_PORTS),
        (IDENTITY, "spec.calls", [{"to": {"name": "a"}, "ports": []}], CALL_PORTS),
        (IDENTITY, "spec.calls", [{"external": EXTERNAL, "ports": ["https"]}], CALL_PORTS),
        (IDENTITY, "spec.calls", [{"kubernetesAPI": True, "ports": ["https"]}], CALL_PORTS),
        (IDENTITY, "spec.calls", [{"ports": ["https"]}], CALL_PORTS),
        (IDENTITY, "spec.calls", [{"external": EXTERNAL, "scopes": ["read"]}], SCOPES),
        (IDENTITY, "spec.calls", [{"kubernetesAPI": True, "scopes": ["read"]}], SCOPES),
        (
            IDENTITY,
            "spec.workload.ports",
            [{"name": "a", "port": 1}, {"name": "a", "port": 2}],
            'Duplicate value: {"name":"a"}',
        ),
    ],
)
def test_rewritten_rule_rejects_what_it_rejected_before(
    dry_run: DryRun, manifest: Manifest, path: str, value: Any, message: str
) -> None:
    answer = check(changed(manifest, path, value), dry_run)
    assert not answer.accepted
    assert any(message in complaint.sentence for complaint in answer.complaints)


@pytest.mark.parametrize(
    ("manifest", "path", "value"),
    [
        (IDENTITY, "spec.accepts", ACCEPTS),
        (IDENTITY, "spec.exceptions", {"probes": ["https"], "metrics": ["grpc"]}),
        (NO_PORTS, "spec.accepts", []),
        (NO_PORTS, "spec.exceptions", {"probes": []}),
        (IDENTITY, "spec.calls", [{"external": EXTERNAL, "ports": [], "scopes": []}]),
        (IDENTITY, "spec.calls", [{"kubernetesAPI": True, "ports": []}]),
        (IDENTITY, "spec.calls", [{**builders.call("a"), "scopes": ["read"]}]),
    ],
)
def test_rewritten_rule_accepts_what_it_accepted_before(
    dry_run: DryRun, manifest: Manifest, path: str, value: Any
) -> None:
    assert check(changed(manifest, path, value), dry_run).accepted
