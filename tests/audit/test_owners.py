"""Owners of findings: from an object, its pods and its namespace."""

from typing import Any

from tests.audit.rules.scenes import deployment
from tests.builders import NOW, Manifest, namespace
from troth.audit.evaluation import Evaluator
from troth.audit.finding import Object
from troth.audit.registry import RULE_BY_ID
from troth.audit.scene import scene_of
from troth.resources.references import Ref

WEB = Object("Deployment", Ref("shop", "web"))


def web(pods: Manifest | None = None, **own: Any) -> Manifest:
    manifest = deployment(labels=pods or {})
    manifest["metadata"] |= own
    return manifest


def above(**labels: str) -> Manifest:
    manifest = namespace("shop")
    manifest["metadata"]["labels"] = labels
    return manifest


def owner(*manifests: Manifest) -> str:
    return scene_of(manifests, NOW).owner_of(WEB)


def test_owner_is_that_of_the_object_then_of_its_pods_then_of_its_namespace() -> None:
    named = {"labels": {"team": "labels"}}
    both = {"annotations": {"owner": "annotations"}, **named}
    assert owner(web({"team": "pods"}, **both), above(team="platform")) == "annotations"
    assert owner(web({"team": "pods"}, **named), above(team="platform")) == "labels"
    assert owner(web({"team": "pods"}), above(team="platform")) == "pods"
    assert owner(web(), above(team="platform")) == "platform"
    assert owner(web()) == ""


def test_owner_is_shortened() -> None:
    assert owner(web(annotations={"owner": "a" * 64})) == "a" * 64
    assert owner(web(annotations={"owner": "a" * 65})) == "a" * 61 + "..."


def test_metadata_of_a_wrong_type_name_no_owner() -> None:
    assert owner(web(annotations=[7], labels={"team": 7})) == ""


def test_change_of_an_owner_reaches_the_finding() -> None:
    scene, evaluator = scene_of([web()], NOW), Evaluator((RULE_BY_ID["TR402"],))
    manifest = web(labels={"team": "storefront"})
    manifest["spec"]["template"]["spec"]["containers"] = [
        {"env": [{"name": "A", "value": "X-User-Id"}], "ports": [{"containerPort": 80}]}
    ]
    (found,) = evaluator.evaluate(scene, scene.put(manifest)).findings
    assert found.owner == "storefront"
    manifest["metadata"]["labels"] = {"team": "platform"}
    (found,) = evaluator.evaluate(scene, scene.put(manifest)).findings
    assert found.owner == "platform"
