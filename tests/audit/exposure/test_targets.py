"""The workloads to which routes lead, for many routes and workloads."""

from tests.audit.rules.scenes import deployment, ingress, service
from tests.builders import NOW, Manifest
from troth.audit.exposure.running import running, with_labels
from troth.audit.exposure.targets import targets
from troth.audit.facts.ingress.routes import routes_of
from troth.audit.scene import Scene, scene_of

MANIFESTS = [service(), deployment(), deployment("other")]


def reached(scene: Scene) -> list[str]:
    return [
        str(each.workload.object)
        for route in routes_of(ingress())
        for each in targets(scene, route)
    ]


def test_workloads_are_sorted_once_until_one_changes() -> None:
    scene = scene_of(MANIFESTS, NOW)
    before = running(scene, "shop")
    assert running(scene, "shop") is before
    scene.put(deployment("third"))
    assert len(running(scene, "shop")) == len(before) + 1


def test_change_of_a_service_or_a_workload_changes_the_targets() -> None:
    scene = scene_of(MANIFESTS, NOW)
    assert reached(scene) == ["Deployment shop/web"]
    scene.put(deployment("second", labels={"app": "web"}))
    assert reached(scene) == ["Deployment shop/second", "Deployment shop/web"]
    scene.put(service(selector={"app": "other"}))
    assert reached(scene) == ["Deployment shop/other"]
    for nobody in ({}, {"app": ["other"]}, {"app": "other", "tier": "a"}, None, 7):
        scene.put(service(selector=nobody))
        assert reached(scene) == []


def test_all_labels_must_fit() -> None:
    labels: Manifest = {"app": "web", "tier": "a"}
    scene = scene_of([*MANIFESTS, deployment("both", labels=labels)], NOW)
    assert [each.object.ref.name for each in with_labels(scene, "shop", labels)] == ["both"]
    assert len(with_labels(scene, "shop", {"app": "web"})) == 2
    assert with_labels(scene, "shop", {}) == []
