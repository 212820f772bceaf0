"""TR403: which proofs show that a service rejects callers."""

from typing import Any

import pytest

from tests import builders
from tests.audit.rules.scenes import findings
from tests.builders import Manifest
from troth.audit.rules.headers.scopes_not_proven import RULE


def proof(probe: str = "OtherToken", **more: Any) -> Manifest:
    return {
        "peer": "shop/checkout",
        "port": "https",
        "probe": probe,
        "expectation": "Fails",
        "result": "Proven",
        "layer": "Token",
        "provenAt": "2026-11-27T12:00:00Z",
    } | more


def payments(*proofs: Manifest, authentication: str = "token", scopes: bool = True) -> Manifest:
    accepts = builders.accept("checkout") | ({"scopes": ["a.b"]} if scopes else {})
    made = builders.identity(
        ports=["https", ("other", 9443)], accepts=[accepts], authentication={authentication: {}}
    )
    return made | {"status": {"proofs": list(proofs)}}


def found(*manifests: Manifest) -> bool:
    return bool(findings(RULE, manifests, in_cluster=True))


def test_port_without_scopes_needs_no_proof() -> None:
    assert found(payments())
    assert not found(payments(scopes=False))


@pytest.mark.parametrize("probe", ["OtherToken", "ForgedHeaders"])
def test_rejected_probe_is_a_proof(probe: str) -> None:
    assert not found(payments(proof(probe)))


@pytest.mark.parametrize(
    "change",
    [
        {"probe": "DeclaredEdge"},
        {"port": "other"},
        {"result": "Inconclusive"},
        {"layer": "Network"},
        {"expectation": "Passes"},
    ],
)
def test_other_probe_port_result_or_layer_is_no_proof(change: Manifest) -> None:
    assert found(payments(proof(**change)))


def test_accepted_probe_counts_even_beside_a_rejected_one() -> None:
    (finding,) = findings(
        RULE, [payments(proof(), proof("ForgedHeaders", result="Disproven"))], in_cluster=True
    )
    assert "accepted a caller that it must reject" in finding.message


def test_certificate_is_a_proof_only_without_tokens() -> None:
    assert found(payments(proof("OtherCertificate", layer="Transport")))
    assert not found(payments(proof("OtherCertificate", layer="Transport"), authentication="mtls"))


def test_each_port_with_scopes_is_a_finding_of_its_own() -> None:
    both = payments()
    both["spec"]["accepts"][0]["ports"] = ["https", "other"]
    assert [each.about for each in findings(RULE, [both], in_cluster=True)] == ["https", "other"]
    assert not findings(RULE, [both]), "files show no proofs"
