"""Which fields of a write the API server stored otherwise, found from its answer."""

import copy
from typing import Any

import pytest

from tests.builders import Manifest
from troth.reconcile.drift.server_mutations import altered_fields

POLICY: Manifest = {
    "kind": "NetworkPolicy",
    "metadata": {
        "name": "payments-troth",
        "labels": {"app.kubernetes.io/managed-by": "troth"},
        "annotations": {"troth.dev/live-peers": "{}"},
        "ownerReferences": [{"uid": "1", "controller": True}],
    },
    "spec": {
        "podSelector": {"matchLabels": {"app": "payments"}},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [{"ports": [{"port": 443, "protocol": "TCP"}]}],
        "egress": [],
    },
}
SECRET: Manifest = {"kind": "Secret", "data": {"tls.crt": "YQ==", "tls.key": "Yg=="}}
STATUS: Manifest = {
    "status": {"phase": "Idle", "conditions": [{"type": "Ready", "status": "True"}]}
}


def stored(sent: Manifest, **answer: Any) -> Manifest:
    return copy.deepcopy(sent) | {"kind": sent.get("kind", "ServiceIdentity")} | answer


def without(part: Manifest, name: str) -> Manifest:
    return {key: value for key, value in part.items() if key != name}


SPEC, METADATA = POLICY["spec"], POLICY["metadata"]


@pytest.mark.parametrize(
    ("sent", "answer", "fields"),
    [
        (POLICY, {"spec": {**SPEC, "ingress": [{}]}}, ["spec.ingress"]),
        (POLICY, {"spec": {**SPEC, "ingress": SPEC["ingress"] * 2}}, ["spec.ingress"]),
        (POLICY, {"spec": {**SPEC, "egress": [{"to": []}]}}, ["spec.egress"]),
        (POLICY, {"spec": {**SPEC, "policyTypes": ["Ingress"]}}, ["spec.policyTypes"]),
        (POLICY, {"spec": {**SPEC, "extra": "x"}}, ["spec.extra"]),
        (
            POLICY,
            {"metadata": {**METADATA, "labels": {"team": "x"}}},
            ["metadata.labels[app.kubernetes.io/managed-by]"],
        ),
        (POLICY, {"metadata": without(METADATA, "ownerReferences")}, ["metadata.ownerReferences"]),
        (SECRET, {"data": {"tls.crt": "Yw=="}}, ["data[tls.crt]", "data[tls.key]"]),
        (
            {"data": {"tls.crt": None}},
            {"kind": "Secret", "data": {"tls.crt": "YQ=="}},
            ["data[tls.crt]"],
        ),
        (STATUS, {"status": {"phase": "Idle"}}, ["status.conditions"]),
    ],
)
def test_altered_field_is_named_without_its_value(
    sent: Manifest, answer: Manifest, fields: list[str]
) -> None:
    assert list(altered_fields(sent, stored(sent, **answer))) == fields


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        (POLICY, {}),
        (POLICY, {"spec": without(SPEC, "egress")}),
        (
            POLICY,
            {
                "metadata": {
                    **METADATA,
                    "labels": {**METADATA["labels"], "team": "x"},
                    "ownerReferences": [{"uid": "2"}, *METADATA["ownerReferences"]],
                }
            },
        ),
        (SECRET, {"data": {**SECRET["data"], "other": "eA=="}}),
        ({"data": {"tls.crt": None}}, {"data": {}}),
        (STATUS, {"status": {**STATUS["status"], "later": 1}}),
    ],
)
def test_absent_empty_fields_and_those_of_others_are_not_altered(
    sent: Manifest, answer: Manifest
) -> None:
    assert list(altered_fields(sent, stored(sent, **answer))) == []
