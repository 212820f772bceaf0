"""The scene: what it keeps, and that nothing it has computed outlives a change."""

import copy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.audit.scenes import GOVERNED, cron_job, files, job, live, network_policy, pod
from tests.builders import (
    NOW,
    Cluster,
    Manifest,
    accept,
    call,
    domain,
    identity,
    namespace,
    service,
    unverified,
)
from troth.audit.evaluation import Evaluator
from troth.audit.facts.pods.sharing import Pool
from troth.audit.facts.pods.workloads import Pod
from troth.audit.facts.pods.workloads import pod as facts_of
from troth.audit.finding import Object
from troth.audit.scene import scene_of
from troth.resources.references import Ref

DECLARED = (
    identity("payments", ports=["https"], accepts=[accept("web")]),
    identity("web", calls=[call("payments")]),
)
OWN = Cluster.of(*GOVERNED, *DECLARED).settle().policies()
ALLOW_ALL = network_policy("allow-all", ingress=[{}])
CHANGES: tuple[Manifest, ...] = (
    *DECLARED,
    *OWN,
    ALLOW_ALL,
    network_policy("from-legacy", ingress=[{"from": [{"namespaceSelector": {}}]}]),
    network_policy("calm", "legacy", policyTypes=["Egress"]),
    identity("payments", ports=["https"], accepts=[unverified(cidrs=["0.0.0.0/0"])]),
    identity("web", enforcement="Observe"),
    domain(consent="Callee"),
    namespace("legacy"),
    namespace("legacy", domain="production"),
    *(pod(name) for name in ("payments", "web", "db")),
    pod("web", labels={"app": "db"}),
    pod("web", number=1),
    pod("db", "legacy", hostNetwork=True),
    pod("db", "legacy"),
    service("web", app="web"),
    cron_job("night"),
    job("night-1", "night"),
    pod("night-1", kind="Job"),
    job("night-1", "morning"),
)


@given(st.lists(st.tuples(st.sampled_from(range(len(CHANGES))), st.booleans()), max_size=14))
def test_evaluation_after_changes_equals_one_from_the_beginning(
    changes: list[tuple[int, bool]],
) -> None:
    scene, evaluator = live(), Evaluator()
    evaluator.evaluate(scene)
    there: dict[tuple[str, Ref], Manifest] = {}
    for version, (number, stays) in enumerate(changes, start=1):
        manifest: dict[str, Any] = copy.deepcopy(CHANGES[number])
        manifest["metadata"]["resourceVersion"] = str(version)
        place = manifest["kind"], Ref.of(manifest)
        if stays:
            there[place] = manifest
            affected = scene.put(manifest)
        else:
            there.pop(place, None)
            affected = scene.remove(*place)
        found = evaluator.evaluate(scene, affected).findings
    if changes:
        removed = {(each["kind"], Ref.of(each)) for each in GOVERNED} - {
            (CHANGES[number]["kind"], Ref.of(CHANGES[number])) for number, _ in changes
        }
        kept = [each for each in GOVERNED if (each["kind"], Ref.of(each)) in removed]
        fresh = scene_of([*kept, *there.values()], NOW, in_cluster=True)
        assert found == Evaluator().evaluate(fresh).findings


def test_pods_of_a_workload_follow_their_changes() -> None:
    scene = live(pod("web"), pod("web", number=1))
    web = Object("StatefulSet", Ref("shop", "web"))
    assert [each.ref.name for each in scene.pods_of(web)] == ["web-0", "web-1"]
    scene.remove("Pod", Ref("shop", "web-0"))
    assert [each.ref.name for each in scene.pods_of(web)] == ["web-1"]
    ended = pod("web", number=1)
    ended["status"]["phase"] = "Succeeded"
    scene.put(ended)
    assert not scene.pods_of(web)


def test_pods_of_a_cron_job_are_those_of_its_jobs() -> None:
    night = Object("CronJob", Ref("shop", "night"))
    scene = live(cron_job("night"), *(pod(f"night-{n}", kind="Job") for n in (1, 2)))
    assert not scene.pods_of(night)
    for number in (1, 2):
        assert scene.put(job(f"night-{number}", "night")) == {"shop"}
    assert [each.ref.name for each in scene.pods_of(night)] == ["night-1-0", "night-2-0"]
    assert [each.object for each in scene.workloads_in("shop")] == [night]
    assert scene.put(job("night-2", "morning")) == {"shop"}
    assert [each.ref.name for each in scene.pods_of(night)] == ["night-1-0"]


def test_identities_are_found_by_every_kind_of_selector() -> None:
    expressions = [
        {"key": "app", "operator": "In", "values": ["web"]},
        {"key": "tier", "operator": "DoesNotExist"},
    ]
    scene = live(
        identity("by-label", pods={"matchLabels": {"tier": "front", "app": "web"}}),
        identity("by-expression", pods={"matchExpressions": expressions}),
    )

    def names(**labels: str) -> list[str]:
        return [each.name for each in scene.identities_of("shop", labels)]

    assert names(app="web") == ["by-expression"]
    assert names(app="web", tier="front") == ["by-label"]
    assert not names(tier="front")
    scene.put(identity("later", pods={"matchLabels": {"tier": "front"}}))
    assert names(tier="front") == ["later"]


def test_object_that_was_removed_can_come_back() -> None:
    scene = live(identity("web"))
    scene.remove("ServiceIdentity", Ref("shop", "web"))
    assert not scene.world.registry.identities
    scene.put(identity("web"))
    assert Ref("shop", "web") in scene.world.registry.identities


def test_kept_objects_equal_those_that_were_put() -> None:
    scene = live(ALLOW_ALL, identity("web"))
    assert scene.object("NetworkPolicy", Ref("shop", "allow-all")) == ALLOW_ALL
    assert scene.objects("ServiceIdentity", "shop") == [identity("web")]
    assert scene.objects("NetworkPolicy") == [ALLOW_ALL]


def test_running_workloads_are_those_with_pods_and_in_files_those_with_templates() -> None:
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"template": {"metadata": {"labels": {"app": "web"}}, "spec": {}}},
    }
    place = Object("Deployment", Ref("shop", "web"))
    assert not live(deployment).running_in("shop")
    (found,) = files(deployment).running_in("shop")
    assert (found.object, found.path) == (place, "spec.template.spec")
    labels = {"app": "web", "pod-template-hash": "5d4"}
    running = pod("web-5d4", kind="ReplicaSet", labels=labels)
    (found,) = live(deployment, running).running_in("shop")
    assert (found.object, found.path, found.labels) == (place, "spec.template.spec", {"app": "web"})


def test_labels_of_deleted_pods_are_not_kept_for_ever() -> None:
    def revision(number: int) -> Pod:
        return facts_of(pod("web", labels={"app": "web", "pod-template-hash": str(number)}))

    pool, existing = Pool(), {"web-0": revision(0)}
    for number in range(2000):
        pool.shared(revision(number), [existing])
    gone, here = revision(1), revision(0)
    assert pool.shared(gone, [existing]).labels is gone.labels
    assert pool.shared(here, [existing]).labels is not here.labels
