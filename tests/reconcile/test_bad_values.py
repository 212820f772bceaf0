"""Every field has bad values: some that the schema rejects, and one that Troth refuses.

A new field fails here until it has them, or a reason why Troth refuses none.
"""

import pytest

from tests.builders import NOW, Manifest
from tests.reconcile import fields, webhook_fields
from tests.reconcile.fields import DECLARED, Field, all_fields
from tests.reconcile.invalid import invalid
from tests.reconcile.refused import HARMLESS, REFUSED, leaves_a_choice
from tests.reconcile.walk_judge import PODS, Judge
from tests.refusals import faults
from troth.resources.kinds import KIND_BY_NAME
from troth.resources.references import Ref

FIELDS = {str(each): each for each in all_fields() if each.kind in KIND_BY_NAME}
EXCUSED = {field for named in HARMLESS.values() for field in named}


def test_every_field_with_a_choice_has_a_refused_value_or_a_reason_for_none() -> None:
    choosing = {name for name, field in FIELDS.items() if leaves_a_choice(field)}
    assert choosing - REFUSED.keys() - EXCUSED == set()
    assert EXCUSED - choosing == set()
    assert REFUSED.keys() - FIELDS.keys() == set()
    assert REFUSED.keys() & EXCUSED == set()


@pytest.mark.parametrize("kind", sorted(KIND_BY_NAME))
def test_every_field_has_values_that_are_rejected_with_a_sentence(kind: str) -> None:
    for field in FIELDS.values():
        if field.kind == kind:
            spoilt = _spoilt(field)
            assert spoilt, f"no value of {field} is rejected"
            assert all(fault.sentence for each in spoilt for fault in faults(each))


def _spoilt(field: Field) -> list[Manifest]:
    here = webhook_fields if field.kind == "WebhookEndpoint" else fields
    return list(invalid(field, here.CHANGES[str(field)], here.DECLARED))


def test_judge_of_the_walk_reports_an_undeclared_opening() -> None:
    judge = Judge()
    judge.rest({(each["kind"], Ref.of(each)): each for each in DECLARED}, NOW)
    payments = next(each for each in DECLARED if each["metadata"]["name"] == "payments")
    (pod,) = (each for each in PODS if each.labels["app"] == "payments")
    policy: Manifest = {
        "kind": "NetworkPolicy",
        "metadata": {
            "name": "payments-troth",
            "namespace": pod.namespace,
            "labels": {"troth.dev/owner-kind": "ServiceIdentity"},
            "ownerReferences": [{"name": "payments"}],
        },
        "spec": {
            "podSelector": payments["spec"]["workload"]["podSelector"],
            "policyTypes": ["Ingress", "Egress"],
        },
    }
    judge.see(None, policy)
    assert judge.faults == []
    policy["spec"] = {**policy["spec"], "ingress": [{}]}
    judge.see(None, policy)
    assert any("Ingress of shop/payments for shop/other" in fault for fault in judge.faults)
