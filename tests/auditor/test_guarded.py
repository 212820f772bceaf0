"""A rule that fails is reported as unseen, and the others are evaluated."""

from collections.abc import Iterator
from dataclasses import replace

from troth.audit.evaluation import Evaluator
from troth.audit.finding import Finding, Object
from troth.audit.registry import RULE_BY_ID
from troth.audit.scene import Scene
from troth.auditor.guarded import GuardedRules
from troth.resources.references import Ref

TR701 = RULE_BY_ID["TR701"]
PLACE = Object("Deployment", Ref("shop", "web"))


def failing(_: Scene, namespace: str) -> Iterator[Finding]:
    if namespace == "shop":
        raise KeyError("a hostile name")
    yield Finding("TR701", PLACE, "mend it")


def test_failure_is_unseen_in_its_namespace_and_the_others_are_evaluated() -> None:
    scene = Scene(in_cluster=True)
    for name in ("billing", "shop"):
        scene.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    rules = GuardedRules((replace(TR701, find=failing),))
    found = Evaluator(rules.rules).evaluate(scene)
    assert [each.subject for each in found.findings] == [PLACE]
    (unseen,) = rules.failures()
    assert (unseen.rule, unseen.kinds) == ("TR701", ("namespace shop",))
    assert "KeyError" in unseen.reason
    assert "hostile" not in unseen.reason


def test_failure_in_a_deleted_namespace_is_forgotten_with_the_next_whole_evaluation() -> None:
    rules = GuardedRules((replace(TR701, find=failing),))
    list(rules.rules[0].find(Scene(), "shop"))
    assert list(rules.failures())
    rules.forget()
    assert list(rules.failures()) == []


def test_failure_that_passes_is_forgotten() -> None:
    outcomes = iter([True, False])

    def once(scene: Scene, namespace: str) -> Iterator[Finding]:
        if next(outcomes):
            raise ValueError
        yield from ()

    rules = GuardedRules((replace(TR701, find=once),))
    for _ in range(2):
        list(rules.rules[0].find(Scene(), "shop"))
    assert list(rules.failures()) == []
