"""Which findings a FindingException accepts."""

from time import process_time

from tests.builders import DAY, NOW, OWN, Manifest, finding_exception, stamp
from troth.audit.evaluation import Evaluation, Evaluator
from troth.audit.exceptions import separated
from troth.audit.finding import Finding, Object
from troth.audit.scene import Scene, scene_of
from troth.resources.references import Ref

SECONDS = 3


def deployment(name: str = "web", namespace: str = "shop") -> Manifest:
    """Return a Deployment that runs as the ServiceAccount default."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": []}}},
    }


def evaluated(*manifests: Manifest) -> Evaluation:
    return Evaluator().evaluate(scene_of(manifests, NOW))


def named(evaluation: Evaluation) -> list[str]:
    return [f"{each.rule} {each.subject.ref}" for each in evaluation.findings]


def accepted(evaluation: Evaluation) -> list[tuple[str, str]]:
    return [
        (f"{each.rule} {each.subject.ref}", exception) for each, exception in evaluation.excepted
    ]


def test_finding_is_reported_without_an_exception() -> None:
    found = evaluated(deployment())
    assert (named(found), found.excepted) == (["TR701 shop/web"], ())


def test_exception_accepts_the_findings_of_its_rules_in_its_namespace() -> None:
    found = evaluated(deployment(), deployment("web", "bank"), finding_exception())
    assert named(found) == ["TR701 bank/web"]
    assert accepted(found) == [("TR701 shop/web", "shop/legacy")]


def test_exception_of_another_rule_accepts_nothing() -> None:
    found = evaluated(deployment(), finding_exception(rules=["TR999"]))
    assert (named(found), found.excepted) == (["TR701 shop/web"], ())


def test_exception_with_objects_accepts_findings_about_these_alone() -> None:
    objects = [{"kind": "Deployment", "name": "api"}]
    found = evaluated(deployment(), deployment("api"), finding_exception(objects=objects))
    assert named(found) == ["TR701 shop/web"]
    assert accepted(found) == [("TR701 shop/api", "shop/legacy")]


def test_expired_exception_accepts_nothing_and_is_a_finding() -> None:
    found = evaluated(deployment(), finding_exception(expiresAt=stamp(NOW)))
    assert (named(found), found.excepted) == (["TR701 shop/web", "TR506 shop/legacy"], ())


def test_exception_that_ends_too_far_ahead_accepts_nothing_and_is_a_finding() -> None:
    found = evaluated(deployment(), finding_exception(expiresAt=stamp(NOW + 366 * DAY)))
    assert (named(found), found.excepted) == (["TR701 shop/web", "TR506 shop/legacy"], ())


def test_nobody_can_except_that_an_exception_has_expired() -> None:
    """The API server rejects it; a CRD of another version may not."""
    expired = finding_exception(expiresAt=stamp(NOW))
    found = evaluated(expired, finding_exception("silence", rules=["TR506"]))
    assert (named(found), found.excepted) == (["TR506 shop/legacy"], ())


def test_exception_that_cannot_be_read_accepts_nothing() -> None:
    broken = finding_exception(until="whenever")
    found = evaluated(deployment(), broken)
    assert (named(found), found.excepted) == (["TR701 shop/web"], ())


def test_exception_of_another_namespace_accepts_nothing() -> None:
    found = evaluated(deployment(), finding_exception(namespace=OWN))
    assert named(found) == ["TR701 shop/web"]


def test_first_of_several_exceptions_is_named() -> None:
    both = [finding_exception("b"), finding_exception("a")]
    assert accepted(evaluated(deployment(), *both)) == [("TR701 shop/web", "shop/a")]


def test_first_exception_counts_whether_it_names_the_object_or_not() -> None:
    objects = [{"kind": "Deployment", "name": "web"}]
    for both in (
        [finding_exception("a"), finding_exception("b", objects=objects)],
        [finding_exception("a", objects=objects), finding_exception("b")],
    ):
        assert accepted(evaluated(deployment(), *both)) == [("TR701 shop/web", "shop/a")]


def test_cost_does_not_grow_with_exceptions_times_findings() -> None:
    """Comparing each of them with each finding takes minutes."""
    scene = scene_of(
        [
            finding_exception(str(number), objects=[{"kind": "Deployment", "name": str(number)}])
            for number in range(2_000)
        ],
        NOW,
    )
    findings = [
        Finding("TR701", Object("Deployment", Ref("shop", str(number))), "")
        for number in range(20_000)
    ]
    before = process_time()
    reported, excepted = separated(findings, scene)
    assert (len(reported), len(excepted)) == (18_000, 2_000)
    assert process_time() - before < SECONDS


def test_exception_has_an_effect_at_once_and_until_it_is_removed() -> None:
    scene = Scene(now=NOW)
    evaluator = Evaluator()
    scene.put(deployment())
    assert named(evaluator.evaluate(scene)) == ["TR701 shop/web"]
    changed = scene.put(finding_exception())
    assert named(evaluator.evaluate(scene, changed)) == []
    changed = scene.remove("FindingException", Ref("shop", "legacy"))
    assert named(evaluator.evaluate(scene, changed)) == ["TR701 shop/web"]


def test_exception_ends_while_nothing_changes() -> None:
    scene = scene_of([deployment(), finding_exception()], NOW)
    evaluator = Evaluator()
    assert named(evaluator.evaluate(scene)) == []
    scene.now = NOW + 31 * DAY
    assert named(evaluator.evaluate(scene, ())) == ["TR701 shop/web"]
