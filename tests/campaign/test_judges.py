"""The judge of policies reports undeclared openings, also in a policy that existed before."""

from tests import builders
from tests.builders import NOW, Manifest
from tests.campaign.judges.declared import History
from tests.campaign.judges.reach import opened_undeclared, removed_guard
from troth.resources.references import Ref

RULE = {"from": [{"podSelector": {"matchLabels": {"app": "b"}}}]}


def history() -> History:
    declared = (
        builders.namespace("north", domain="red"),
        builders.domain("red"),
        builders.identity("a", "north"),
        builders.identity("b", "north"),
    )
    found = History()
    found.begin({(each["kind"], Ref.of(each)): each for each in declared}, NOW)
    return found


def policy(*ingress: Manifest) -> Manifest:
    return {
        "kind": "NetworkPolicy",
        "metadata": {
            "name": "a-troth",
            "namespace": "north",
            "ownerReferences": [{"name": "a"}],
        },
        "spec": {
            "podSelector": {"matchLabels": {"app": "a"}},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": list(ingress),
        },
    }


def test_closed_policy_has_no_fault() -> None:
    assert list(opened_undeclared(history(), None, policy())) == []


def test_undeclared_opening_of_a_policy_is_reported() -> None:
    faults = list(opened_undeclared(history(), policy(), policy(RULE)))
    assert faults
    assert all("Ingress of north/a for north/b" in fault for fault in faults)


def test_undeclared_opening_is_reported_again_if_the_policy_changes() -> None:
    elsewhere = {"from": [{"podSelector": {"matchLabels": {"app": "c"}}}]}
    assert list(opened_undeclared(history(), policy(RULE), policy(RULE, elsewhere)))


def test_removed_policy_of_a_declared_identity_is_reported() -> None:
    assert list(removed_guard(history(), policy()))
