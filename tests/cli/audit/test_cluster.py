"""`troth audit` of a cluster, with the user's own rights; manifests override its objects."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.audit.scenes import pod
from tests.builders import NOW, OWN, Manifest, domain, identity, namespace
from tests.cli.api_server import Served, serving
from tests.cli.audit.shop import cluster, deployment, subjects
from tests.cli.running import Ended, troth
from tests.messaging import broker
from troth.audit.registry import RULE_BY_ID, RULES
from troth.cli.audit.gather import Gathered, gather
from troth.resources.manifests import dump


def audit(served: Served, *arguments: str) -> Ended:
    return troth("audit", "--kubeconfig", str(served.kubeconfig), *arguments)


def document(served: Served, *arguments: str) -> Any:
    return json.loads(audit(served, "-o", "json", *arguments).output)


def test_findings_of_a_cluster_are_reported_from_all_pages(tmp_path: Path) -> None:
    objects = cluster(deployments=[deployment(name) for name in ("a", "b", "c")])
    with serving(tmp_path, objects, page=1) as served:
        found = document(served)
    assert subjects(found) == ["TR701 shop/a", "TR701 shop/b", "TR701 shop/c"]
    assert (found["summary"]["complete"], found["summary"]["files"]) == (True, 0)


def test_kinds_that_the_cluster_does_not_serve_are_not_missed(tmp_path: Path) -> None:
    with serving(tmp_path, cluster()) as served:
        ended = audit(served)
    assert ended.code == 0


def test_kind_that_is_served_in_another_version_is_never_clean(tmp_path: Path) -> None:
    beta = ("networking.istio.io/v1beta1", "virtualservices")
    rule = next(each for each in RULES if "VirtualService" in each.reads)
    with serving(tmp_path, cluster(), discovery=[beta]) as served:
        ended = audit(served, "--rule", rule.id)
        found = document(served, "--rule", rule.id)
    assert ended.code == 2
    assert "only in version networking.istio.io/v1beta1" in " ".join(ended.output.split())
    assert ["VirtualService"] in [each["kinds"] for each in found["unseen"]]
    assert found["summary"]["complete"] is False


def test_resource_that_this_version_cannot_read_is_never_clean(tmp_path: Path) -> None:
    unreadable = identity("payments", "shop")
    unreadable["spec"]["fieldOfALaterVersion"] = 7
    with serving(tmp_path, cluster(serviceidentities=[unreadable])) as served:
        ended = audit(served, "--rule", "TR502")
        allowed = audit(served, "--rule", "TR502", "--allow-unseen")
        found = document(served, "--rule", "TR502")
    assert (ended.code, allowed.code) == (2, 0)
    assert found["summary"]["complete"] is False


def test_kind_that_may_not_be_listed_is_never_clean(tmp_path: Path) -> None:
    with serving(tmp_path, cluster(), forbidden=["pods"]) as served:
        ended = audit(served, "--rule", "TR701")
        allowed = audit(served, "--rule", "TR701", "--allow-unseen")
        found = document(served, "--rule", "TR701")
    assert (ended.code, allowed.code) == (2, 0)
    assert "no findings in what was seen" in ended.output
    assert "Pod (you are not allowed to list it): TR701" in ended.output
    assert found["summary"]["complete"] is False
    assert [each["kinds"] for each in found["unseen"]] == [["Pod"]]


def test_finding_is_reported_beside_what_could_not_be_seen(tmp_path: Path) -> None:
    objects = cluster(deployments=[deployment()])
    with serving(tmp_path, objects, forbidden=["pods"]) as served:
        ended = audit(served, "--rule", "TR701", "--fail-on", "medium")
        allowed = audit(served, "--rule", "TR701", "--fail-on", "medium", "--allow-unseen")
    assert (ended.code, allowed.code) == (2, 1)
    assert "Deployment shop/web" in ended.output


def test_kind_that_no_chosen_rule_reads_is_not_missed(tmp_path: Path) -> None:
    with serving(tmp_path, cluster(), forbidden=["pods", "trustdomains"]) as served:
        ended = audit(served, "--rule", "TR506")
    assert (ended.code, ended.output) == (0, "no findings\n")


def test_manifest_overrides_the_object_of_the_cluster(tmp_path: Path) -> None:
    mended = tmp_path / "web.yaml"
    mended.write_text(dump(deployment(account="web")))
    objects = cluster(deployments=[deployment(), deployment("api")])
    with serving(tmp_path, objects) as served:
        found = document(served, "-f", str(mended))
    assert subjects(found) == ["TR701 shop/api"]


def test_manifest_without_a_namespace_is_in_that_of_the_context(tmp_path: Path) -> None:
    bare: Manifest = deployment(account="web")
    del bare["metadata"]["namespace"]
    mended = tmp_path / "web.yaml"
    mended.write_text(dump(bare))
    with serving(tmp_path, cluster(deployments=[deployment()])) as served:
        assert subjects(document(served, "-f", str(mended))) == []


def gathered(served: Served, *files: Path, reads: str = "Pod", metadata: bool = False) -> Gathered:
    return gather(
        files,
        [replace(RULE_BY_ID["TR701"], reads=frozenset({reads}))],
        NOW,
        namespace="",
        own_namespace=OWN,
        kubeconfig=served.kubeconfig,
        context=None,
        secret_metadata=metadata,
    )


def test_manifest_keeps_what_the_api_server_writes_of_the_object(tmp_path: Path) -> None:
    """Rules read statuses, and ages."""
    status = {"observedGeneration": 3}
    stored = {**identity(enforcement="Enforce"), "status": status}
    stored["metadata"] = {**stored["metadata"], "uid": "u", "creationTimestamp": "2026-01-01"}
    file = tmp_path / "payments.yaml"
    file.write_text(dump(identity(enforcement="Observe")))
    with serving(tmp_path, cluster(serviceidentities=[stored])) as served:
        scene = gathered(served, file).scene
    (found,) = scene.objects("ServiceIdentity")
    assert (found["spec"]["enforcement"], found["status"]) == ("Observe", status)
    assert found["metadata"]["creationTimestamp"] == "2026-01-01"


def test_workload_that_only_a_manifest_has_is_evaluated_like_one_that_runs(tmp_path: Path) -> None:
    governed = {"trustdomains": [domain()], "namespaces": [namespace("shop", domain="production")]}
    file = tmp_path / "web.yaml"
    file.write_text(dump(deployment(account="web")))
    objects = cluster(**governed, pods=[pod("db", serviceAccountName="web")])
    with serving(tmp_path, objects) as served:
        found = document(served, "-f", str(file))
    network = [each for each in subjects(found) if "TR60" in each or "TR702" in each]
    assert sorted(network) == [
        "TR601 shop/db",
        "TR601 shop/web",
        "TR702 shop/web",
    ]


def test_changed_workload_is_judged_by_its_manifest_and_not_by_its_old_pods(tmp_path: Path) -> None:
    old = pod("web", kind="Deployment", hostNetwork=True, labels={"app": "old"})
    run = pod("night-1", kind="Job", labels={"app": "old"}, serviceAccountName="night")
    new = deployment(account="web")
    night = cron_job("night")
    files = tmp_path / "files.yaml"
    files.write_text(f"{dump(new)}---\n{dump(night)}")
    jobs = [job_of("night", "night-1")]
    objects = cluster(deployments=[deployment(account="web")], pods=[old, run], jobs=jobs)
    with serving(tmp_path, objects) as served:
        scene = gathered(served, files).scene
    running = [(str(each.object), each.labels) for each in scene.running_in("shop")]
    assert running == [
        ("CronJob shop/night", {"app": "night"}),
        ("Deployment shop/web", {"app": "web"}),
    ]
    assert not any(each.spec.host_network for each in scene.running_in("shop"))
    assert {(str(each.workload), *each.items) for each in scene.parties()} == {
        ("CronJob shop/night", ("app", "night")),
        ("Deployment shop/web", ("app", "web")),
    }


def cron_job(name: str) -> Manifest:
    template = {"metadata": {"labels": {"app": name}}, "spec": {"serviceAccountName": name}}
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"jobTemplate": {"spec": {"template": template}}},
    }


def job_of(cron: str, name: str) -> Manifest:
    owner = {"kind": "CronJob", "name": cron, "uid": "1", "controller": True}
    metadata = {"name": name, "namespace": "shop", "ownerReferences": [owner]}
    template = {"metadata": {"labels": {"app": "old"}}, "spec": {}}
    return {"metadata": metadata, "spec": {"template": template}}


def test_rule_that_reads_secrets_says_that_they_were_not_listed(tmp_path: Path) -> None:
    with serving(tmp_path, cluster(secrets=[])) as served:
        hidden = gathered(served, reads="Secret").scene.hidden
        seen = gathered(served, reads="Secret", metadata=True).scene.hidden
    assert "--secret-metadata" in hidden["Secret"]
    assert seen == {}


@pytest.mark.parametrize("metadata", [True, False])
def test_secrets_are_listed_by_their_metadata_alone_and_only_on_request(
    tmp_path: Path, metadata: bool
) -> None:
    secret = {"metadata": {"name": "s", "namespace": "shop"}, "data": {"password": "canary"}}
    with serving(tmp_path, cluster(secrets=[secret])) as served:
        ended = audit(served, *(["--secret-metadata"] if metadata else []))
        asked = [each for each in served.requests if each[0] == "secrets"]
    assert asked == ([("secrets", True)] if metadata else [])
    assert "canary" not in ended.output


def test_cluster_that_cannot_be_reached_is_an_error(tmp_path: Path) -> None:
    with serving(tmp_path, cluster()) as served:
        pass
    ended = audit(served)
    assert ended.code == 2
    assert "the API server cannot be reached" in ended.errors
    assert ended.output == ""


def uncovered(*watched: str) -> dict[str, list[Manifest]]:
    """Return a cluster with pods without an identity in two governed namespaces."""
    return cluster(
        namespaces=[namespace(each, domain="production") for each in ("legal", "shop")],
        trustdomains=[domain() | {"status": {"watchedNamespaces": list(watched)}}],
        pods=[pod("web", each) for each in ("legal", "shop")],
        serviceidentities=[identity("archive", "legal")],
    )


def test_rules_judge_as_an_operator_that_watches_the_namespaces_of_the_status(
    tmp_path: Path,
) -> None:
    everywhere = ["TR601 legal/web", "TR601 shop/web"]
    for watched, option, found in (
        ((), "", everywhere),
        (("shop",), "", ["TR601 shop/web"]),
        (("shop",), "shop,legal", everywhere),
    ):
        arguments = ["--watched-namespaces", option] if option else []
        with serving(tmp_path, uncovered(*watched)) as served:
            assert subjects(document(served, "--rule", "TR601", *arguments)) == found


def test_broker_where_troth_does_not_watch_is_not_missed(tmp_path: Path) -> None:
    told = domain() | {"status": {"watchedNamespaces": ["shop"]}}
    objects = cluster(trustdomains=[told], messagebrokers=[broker("main", "legal")])
    rule = next(each for each in RULES if "brokers" in each.sources)
    with serving(tmp_path, objects) as served:
        assert document(served, "--rule", rule.id)["unseen"] == []
