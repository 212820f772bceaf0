"""The order of a round: what is a control for what."""

import pytest

from tests import builders
from tests.audit.proving.test_plan import (
    CHECKOUT,
    PAYMENTS,
    accepting,
    calling,
    planned,
    registry_of,
)
from troth.audit.proving.plan import Options, plan_probes
from troth.audit.proving.probe import Plan, Probe, Target
from troth.audit.proving.round import Control, Observed, Pod, Round
from troth.audit.proving.verdict import judge
from troth.documents.probes import MOST, Outcome, PodReport, Seen
from troth.resources.references import Ref
from troth.resources.reported import Layer, ProofResult

HTTPS = Target(PAYMENTS, "https")
DONE, OPEN = Seen(Outcome.ANSWERED, 200), Seen(Outcome.CONNECTED)
STOPPED, REJECTED = Seen(Outcome.TIMEOUT), Seen(Outcome.ALERT)


def shop_plan() -> Plan:
    return planned(
        registry_of(
            accepting("payments", "checkout"), calling("checkout", "payments"), calling("batch")
        )
    )


def reported(_pod: Pod, *seen: Seen) -> PodReport:
    return PodReport("n", seen, answered=True)


def observed(found: Round, plan: Plan, name: str, caller: str = "checkout") -> Observed:
    return found.observed(_probe(plan, name, caller), plan.probes)


def _probe(plan: Plan, name: str, caller: str) -> Probe:
    return next(
        each
        for each in plan.probes
        if each.name.value == name and each.caller and each.caller.name == caller
    )


def result(found: Round, plan: Plan, name: str, caller: str = "checkout") -> ProofResult:
    return judge(_probe(plan, name, caller), observed(found, plan, name, caller)).result


def test_caller_repeats_its_edge_after_the_probes_that_must_fail() -> None:
    plan = shop_plan()
    (pod,) = Round({HTTPS: "10.0.0.7"}).first(plan.probes)
    assert pod.caller == CHECKOUT
    assert [each.probe.name.value for each in pod.tasks] == [
        "DeclaredEdge",
        "ForgedHeaders",
        "NoCertificate",
        "OtherCertificate",
        "DeclaredEdge",
    ]
    assert [each.control for each in pod.tasks] == [None] * 4 + [Control.REPEATED]
    assert {each.instruction.address for each in pod.tasks} == {"10.0.0.7"}
    assert pod.identities == ["batch", "checkout"]


def test_pods_without_an_edge_run_in_the_second_step() -> None:
    pods = Round({HTTPS: "10.0.0.7"}).second(shop_plan().probes)
    assert [each.caller for each in pods] == [Ref("shop", "batch"), None]


def test_failure_is_proven_once_a_declared_caller_connects_again() -> None:
    plan = shop_plan()
    found = Round({HTTPS: "10.0.0.7"})
    (pod,) = found.first(plan.probes)
    found.take(pod, reported(pod, DONE, REJECTED, REJECTED, REJECTED, DONE))
    for pod in found.second(plan.probes):
        found.take(pod, reported(pod, STOPPED))
    assert result(found, plan, "UndeclaredEdge", "batch") is ProofResult.INCONCLUSIVE, (
        "the repetition of step 1 came before it"
    )
    (last,) = found.third(plan.probes)
    assert last.caller == CHECKOUT
    assert not last.tasks[0].instruction.request
    found.take(last, reported(last, OPEN))
    assert result(found, plan, "UndeclaredEdge", "batch") is ProofResult.PROVEN
    assert result(found, plan, "NoCertificate") is ProofResult.PROVEN


@pytest.mark.parametrize("outcome", [Outcome.ALERT, Outcome.CLOSED], ids=str)
def test_certificate_that_ends_the_connection_is_proven_once_a_caller_is_answered_again(
    outcome: Outcome,
) -> None:
    """A server may end TLS 1.3 without an alert."""
    shop = registry_of(
        accepting("payments", "checkout", enforcement="Observe"),
        calling("checkout", "payments", enforcement="Observe"),
        calling("batch", enforcement="Observe"),
    )
    plan = planned(shop)
    assert _probe(plan, "UndeclaredEdge", "batch").layer is Layer.TRANSPORT
    found = Round({HTTPS: "10.0.0.7"})
    for pod in found.first(plan.probes):
        found.take(pod, reported(pod, *[DONE] * len(pod.tasks)))
    for pod in found.second(plan.probes):
        found.take(pod, reported(pod, Seen(outcome)))
    assert result(found, plan, "UndeclaredEdge", "batch") is ProofResult.INCONCLUSIVE
    (last,) = found.third(plan.probes)
    assert last.tasks[0].instruction.request
    found.take(last, reported(last, DONE))
    assert result(found, plan, "UndeclaredEdge", "batch") is ProofResult.PROVEN


def test_callee_that_nobody_reached_is_not_followed_up() -> None:
    plan = shop_plan()
    found = Round({HTTPS: "10.0.0.7"})
    (pod,) = found.first(plan.probes)
    found.take(pod, reported(pod, *[STOPPED] * 5))
    for pod in found.second(plan.probes):
        found.take(pod, reported(pod, STOPPED))
    assert found.third(plan.probes) == []
    assert {judge(each, found.observed(each, plan.probes)).result for each in plan.probes} == {
        ProofResult.INCONCLUSIVE
    }


def test_callee_without_a_ready_pod_is_not_probed() -> None:
    plan = shop_plan()
    found = Round({})
    assert found.first(plan.probes) == found.second(plan.probes) == []
    assert observed(found, plan, "DeclaredEdge").reason == "the callee has no Ready pod"


def test_pod_without_a_report_says_why() -> None:
    plan = shop_plan()
    found = Round({HTTPS: "10.0.0.7"})
    (pod,) = found.first(plan.probes)
    found.take(pod, None, "its pod failed")
    assert observed(found, plan, "DeclaredEdge").reason == "its pod failed"


def test_callee_that_was_replaced_meanwhile_proves_nothing() -> None:
    plan = shop_plan()
    found = Round({HTTPS: "10.0.0.7"})
    (pod,) = found.first(plan.probes)
    found.take(pod, reported(pod, DONE, REJECTED, REJECTED, REJECTED, DONE))
    found.drop(HTTPS, "the callee's pod was replaced")
    assert {judge(each, found.observed(each, plan.probes)).result for each in plan.probes} == {
        ProofResult.INCONCLUSIVE
    }


def test_control_of_a_probe_is_its_own_caller() -> None:
    plan = planned(
        registry_of(
            accepting("payments", "checkout", "batch"),
            calling("checkout", "payments"),
            calling("batch", "payments"),
        ),
        sample=0,
    )
    found = Round({HTTPS: "10.0.0.7"})
    forbidden = Seen(Outcome.ANSWERED, 403)
    presenter = next(each.caller for each in plan.probes if each.name.value == "NoCertificate")
    assert presenter is not None
    for pod in found.first(plan.probes):
        own = forbidden if pod.caller == presenter else DONE
        seen = [own if each.probe.is_control else forbidden for each in pod.tasks]
        found.take(pod, reported(pod, *seen))
    before = observed(found, plan, "NoCertificate", presenter.name).before
    assert before == forbidden, "the other caller's answer is no control for this one"


def test_caller_of_many_callees_has_several_pods() -> None:
    many = [f"callee-{number}" for number in range(30)]
    shop = registry_of(*(accepting(each, "checkout") for each in many), calling("checkout", *many))
    refs = [Ref("shop", each) for each in many]
    plan = plan_probes(shop, refs, builders.NOW, Options("1"))
    found = Round({Target(each, "https"): "10.0.0.7" for each in refs})
    pods = [*found.first(plan.probes), *found.second(plan.probes)]
    assert max(len(each.tasks) for each in pods) <= MOST
    made = {task.probe for pod in pods for task in pod.tasks}
    assert made == set(plan.probes)
