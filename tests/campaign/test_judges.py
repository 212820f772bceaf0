"""The judges report undeclared openings and rules, also those that existed before."""

from dataclasses import replace

from tests import builders
from tests.builders import NOW, OWN, Manifest
from tests.campaign.judges.declared import History
from tests.campaign.judges.reach import opened_undeclared, removed_guard
from tests.campaign.stages.brokers import LEDGER, MAIN, BrokerStage
from tests.messaging import broker
from troth.resources.messaging.message_broker import MessageBroker
from troth.resources.references import Ref
from troth.trust.grants import Rule, Slot
from troth.world.facts.broker import Ledger
from troth.world.observation.ledger import ledger_manifest

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


# Rules that a lost ledger has left behind


OLD = Rule("troth-north.a", "TOPIC", "LITERAL", "prod.a", "WRITE", "ALLOW", "*")
NEW = replace(OLD, name="prod.b.x")


def kept(ledger: Ledger) -> Manifest:
    return ledger_manifest(OWN, MessageBroker.parse(broker(MAIN.name, MAIN.namespace)), ledger)


def stage(ledger: Ledger, said: tuple[str, str] = ("False", "Unaccounted")) -> BrokerStage:
    """Return a stage at rest whose broker has a rule from before its ledger was lost."""
    found = BrokerStage()
    status, reason = said
    ready = {"type": "Ready", "status": status, "reason": reason, "message": ""}
    found.server.put({**broker(MAIN.name, MAIN.namespace), "status": {"conditions": [ready]}})
    found.server.put(kept(ledger))
    found.broker.rules = {OLD, *ledger.rules}
    found.left = {OLD}
    return found


def test_undeclared_rule_that_the_ledger_leaves_alone_has_no_fault() -> None:
    """Even of a principal that the ledger has again."""
    ledger = Ledger(credentials={(OLD.principal, Slot.FIRST): "made"}, left=frozenset({OLD}))
    assert list(stage(ledger).faults_at_rest()) == []


def test_undeclared_rule_that_the_broker_does_not_report_is_a_fault() -> None:
    faults = list(stage(Ledger(left=frozenset({OLD})), ("True", "InSync")).faults_at_rest())
    assert [fault for fault in faults if "does not say so" in fault]


def test_undeclared_rule_of_a_known_principal_that_the_ledger_does_not_list_is_a_fault() -> None:
    faults = list(stage(Ledger(rules=frozenset({NEW}))).faults_at_rest())
    assert f"{OLD} stands, and nobody grants it" in faults


def test_undeclared_rule_that_a_later_ledger_adopted_is_a_fault() -> None:
    found = stage(Ledger(left=frozenset({OLD})))
    adopted = kept(Ledger(frozenset({OLD})))
    assert list(found._faults_of_write(LEDGER, found.server.objects[LEDGER], adopted)) == []
    found.server.put(kept(Ledger()))
    assert f"{OLD} stands, and nobody grants it" in list(found.faults_at_rest())
