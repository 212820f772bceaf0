"""The scene as a cache: what must be evaluated again, and what cannot be seen."""

from typing import Any

from tests import builders
from troth.audit.facts.traffic import Endpoint, Flow, Traffic
from troth.audit.finding import Object
from troth.audit.scene import Scene
from troth.auditor.cache import SceneCache
from troth.cluster.selection import Selection
from troth.resources.references import Ref
from troth.world.facts.objects import UNREADABLE

NOW = builders.NOW
Manifest = dict[str, Any]


def cache() -> SceneCache:
    return SceneCache(Scene(now=NOW, in_cluster=True))


def pod(version: int = 1, **status: Any) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "web", "namespace": "shop", "resourceVersion": str(version)},
        "spec": {"containers": [{"name": "web"}]},
        "status": {"phase": "Running", **status},
    }


def identity(version: int = 1, name: str = "payments", **status: Any) -> Manifest:
    manifest = builders.identity(name, "shop", ports=["https"])
    metadata = {**manifest["metadata"], "resourceVersion": str(version)}
    return {**manifest, "metadata": metadata} | ({"status": status} if status else {})


def test_change_of_a_pod_affects_its_namespace_alone() -> None:
    known = cache()
    known.observe(pod())
    assert known.take() == {"shop"}
    assert known.take() == set()


def test_heartbeat_of_a_pod_affects_nothing() -> None:
    known = cache()
    known.observe(pod())
    known.take()
    known.observe(pod(2, conditions=[{"type": "Ready", "lastProbeTime": "2026-11-28T12:00:00Z"}]))
    assert not known.dirty.is_set()


def test_status_of_a_resource_of_troth_affects_its_namespace_alone() -> None:
    known = cache()
    known.observe(identity())
    known.take()
    known.observe(identity(2, observedGeneration=2))
    assert known.take() == {"shop"}


def test_status_of_a_cluster_scoped_resource_affects_everything() -> None:
    known = cache()
    domain = builders.domain()
    known.observe(domain)
    known.take()
    metadata = {**domain["metadata"], "resourceVersion": "2"}
    known.observe({**domain, "metadata": metadata, "status": {"observedGeneration": 2}})
    assert known.take() is None


def test_change_of_a_resource_of_troth_affects_everything_but_what_the_auditor_wrote() -> None:
    known = cache()
    known.observe(identity())
    assert known.take() is None
    known.observe(identity(2, findings=[{"id": "TR701-1"}], traffic=[]))
    assert not known.dirty.is_set()
    changed = identity(3)
    known.observe({**changed, "spec": {**changed["spec"], "enforcement": "Observe"}})
    assert known.take() is None


def test_object_that_was_deleted_and_created_again_is_known() -> None:
    known, ref = cache(), Ref("shop", "payments")
    known.observe(identity(1))
    known.forget("ServiceIdentity", ref, 2)
    assert ref not in known.scene.world.registry.identities
    known.observe(identity(3))
    assert ref in known.scene.world.registry.identities
    assert known.known(Selection("ServiceIdentity")) == {ref}


def test_changes_wait_while_the_scene_is_held() -> None:
    known = cache()
    with known.held() as scene:
        known.observe(pod())
        assert not scene.pods_in("shop")
    assert known.scene.pods_in("shop")
    assert known.take() == {"shop"}


def test_denied_kind_is_hidden_until_it_is_listed() -> None:
    known = cache()
    known.hide("Pod", "the auditor has no right to list and watch pods")
    assert known.scene.hidden == {"Pod": "the auditor has no right to list and watch pods"}
    assert known.take() is None
    known.listed(Selection("Pod"), 5)
    assert known.scene.hidden == {}
    assert known.take() is None


def test_unreadable_object_hides_its_kind_and_no_other_object() -> None:
    known = cache()
    known.observe(pod())
    known.observe({**pod(), "metadata": {"name": "odd", "namespace": "shop"}, UNREADABLE: "bytes"})
    assert known.scene.hidden["Pod"] == "some objects cannot be read; see the auditor's log"
    assert [each.ref.name for each in known.scene.pods_in("shop")] == ["web"]
    known.forget("Pod", Ref("shop", "odd"), 3)
    assert known.scene.hidden == {}


def test_kind_that_is_no_longer_served_has_no_objects() -> None:
    known = cache()
    known.observe(pod())
    known.forget_kind("Pod")
    assert not known.scene.pods_in("shop")
    assert known.counts()["Pod"] == 0


def flow(name: str, count: int = 1) -> Flow:
    source, payments = (
        Endpoint(Object("Deployment", Ref("shop", each))) for each in (name, "payments")
    )
    return Flow(source, payments, 8443, "TCP", count, NOW, NOW, "conntrack")


def test_traffic_is_judged_again_and_no_namespace_is_evaluated() -> None:
    known = cache()
    for flows in ((flow("web"),), (flow("web", 2),), (flow("web", 2), flow("batch"))):
        known.see_traffic(Traffic(flows, NOW))
        assert known.dirty.is_set()
        assert known.take() == set()
    known.see_traffic(Traffic(flows, NOW))
    assert not known.dirty.is_set()
