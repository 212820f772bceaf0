"""TR701: workloads that run as the ServiceAccount default."""

import pytest

from tests.audit.fixing import fixed
from tests.audit.rules.scenes import deployment
from tests.audit.scenes import GOVERNED, findings, live, pod
from tests.builders import NOW, Manifest
from troth.audit.finding import Fix
from troth.audit.registry import RULE_BY_ID
from troth.audit.scene import Scene, scene_of


def workload(kind: str) -> Manifest:
    """Return an object with a pod template, or a pod, that names no ServiceAccount."""
    spec: Manifest = {"hostNetwork": True, "containers": [{"name": "main"}]}
    metadata = {"name": "web", "namespace": "shop", "labels": {"app": "web"}}
    template = {"metadata": {"labels": {"app": "web"}}, "spec": spec}
    body = {
        "Pod": spec,
        "CronJob": {"jobTemplate": {"spec": {"template": template}}},
    }.get(kind, {"template": template})
    return {"apiVersion": "v1", "kind": kind, "metadata": metadata, "spec": body}


def fix_of(rule: str, scene: Scene) -> Fix:
    (finding,) = findings(rule, scene)
    return RULE_BY_ID[rule].fix(scene, finding)


@pytest.mark.parametrize("rule", ["TR601", "TR603", "TR701"])
@pytest.mark.parametrize(
    "kind", ["Deployment", "StatefulSet", "DaemonSet", "CronJob", "Job", "Pod"]
)
def test_fix_changes_no_immutable_field(kind: str, rule: str) -> None:
    manifests = [*GOVERNED, workload(kind)]
    fix = fix_of(rule, scene_of(manifests, NOW))
    after = fixed(manifests, fix)
    mutable = kind not in ("Job", "Pod")
    assert bool(fix.patches) == mutable
    assert mutable or fix.steps
    if mutable:
        assert not findings(rule, scene_of(after, NOW))


@pytest.mark.parametrize("kind", ["ReplicaSet", "Rollout"])
def test_workload_that_only_its_pods_show_is_found(kind: str) -> None:
    scene = live(*(pod("web", kind=kind, number=n, serviceAccountName="default") for n in (0, 1)))
    (finding,) = findings("TR701", scene)
    assert str(finding.subject) == f"{kind} shop/web"
    fix = RULE_BY_ID["TR701"].fix(scene, finding)
    assert not fix.patches
    assert any("serviceAccountName: web" in each for each in fix.steps)


def test_drafted_account_is_of_no_other_workload() -> None:
    bare = deployment("web", account="default")
    other = deployment("api", account="web")
    fix = fix_of("TR701", scene_of([bare, other], NOW))
    assert fix.manifests[0]["metadata"]["name"] == "web-deployment"
    namesake = workload("CronJob")
    scene = scene_of([bare, namesake], NOW)
    names = {
        RULE_BY_ID["TR701"].fix(scene, each).manifests[0]["metadata"]["name"]
        for each in findings("TR701", scene)
    }
    assert names == {"web-deployment", "web-cronjob"}
