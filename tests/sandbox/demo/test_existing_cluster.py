"""The demo on a cluster that exists already: it removes all that it creates, and nothing else."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from sandbox import Sandbox
from sandbox.cluster import named_kubeconfig
from sandbox.demo import installation, namespaces
from sandbox.demo.errors import DemoError
from sandbox.demo.existing import objects, refusals
from sandbox.demo.shop import Shop
from tests.sandbox.observing import REPOSITORY, becomes, processes_of

PREFIX = "troth-demo-"
OTHERS = "lease", "event", "endpointslice", "componentstatus"
"""Kinds of which the cluster itself makes and changes objects."""
FOREGROUND = """
import runpy, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it
runpy.run_module("sandbox.demo", run_name="__main__", alter_sys=True)
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Sandbox]:
    """Return a cluster of this module's own: the demo installs and deletes CRDs."""
    if named_kubeconfig() is not None:
        pytest.skip("the named cluster is shared; these tests install and delete CRDs")
    with Sandbox.start() as started:
        yield started


@pytest.fixture
def prefixed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(namespaces, "PREFIX", PREFIX)


def everything(cluster: Sandbox) -> set[str]:
    """Return the names of all objects in the cluster, except those of Kubernetes' own namespaces.

    The controllers create some there whenever they first need them.
    """
    listed = cluster.kubectl("api-resources", "--verbs=list", "--output=name").split()
    kinds = ",".join(each for each in listed if not each.startswith(OTHERS))
    found = json.loads(cluster.kubectl("get", kinds, "--all-namespaces", "--output=json"))
    metadata = [(each["kind"], each["metadata"]) for each in found["items"]]
    return {
        f"{kind} {each.get('namespace')}/{each['name']}"
        for kind, each in metadata
        if not each.get("namespace", "").startswith("kube-")
    }


def events_in_default(cluster: Sandbox) -> str:
    """Return the events there, except the API server's own, about its Service."""
    others = "--field-selector=involvedObject.name!=kubernetes"
    return cluster.kubectl("get", "events", "--namespace=default", others, "--output=name")


def start(cluster: Sandbox, temporary: Path, *acts: str) -> subprocess.Popen[str]:
    temporary.mkdir()
    kept = {key: text for key, text in os.environ.items() if key not in {"KEEP", "BROKER"}}
    return subprocess.Popen(
        [sys.executable, "-c", FOREGROUND, "--kubeconfig", str(cluster.kubeconfig), *acts],
        cwd=REPOSITORY,
        # without go: the demo builds nothing
        env={
            **kept,
            "TMPDIR": str(temporary),
            "XDG_CACHE_HOME": str(temporary / "cache"),
            "PATH": str(temporary / "no-programs"),
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def read_to(running: subprocess.Popen[str], words: str) -> None:
    assert running.stdout is not None
    seen = ""
    for line in running.stdout:
        seen += line
        if words in line:
            return
    raise AssertionError(seen)


@pytest.mark.usefixtures("prefixed")
@pytest.mark.long
def test_killed_demo_and_the_next_one_leave_nothing_behind(
    cluster: Sandbox, tmp_path: Path
) -> None:
    before = everything(cluster)
    with start(cluster, tmp_path / "killed", "messages") as killed:
        read_to(killed, "kubectl apply -f examples/messages/nats.yaml")  # with finalizers
        killed.kill()
    assert becomes(lambda: not processes_of(tmp_path / "killed"))
    assert becomes(lambda: not list((tmp_path / "killed").iterdir())), "it had a kubeconfig"
    with pytest.raises(DemoError, match=f"Namespace {PREFIX}finance, .* and . more; delete them"):
        refusals.check_objects(cluster)
    assert becomes(lambda: not is_held(cluster)), "the lease of its operator expires"
    with start(cluster, tmp_path / "next") as running:
        output, _ = running.communicate()
    assert running.returncode == 0, output
    assert "removed those of an earlier demo that was killed" in output
    assert "All trials ended as expected" in output
    assert "WRONG" not in output
    for act in ("Calls: ", "Tokens: ", "Messages: ", "Events: ", "Webhooks: "):
        assert f"\n{act}" in output
    for secret in ("PRIVATE KEY", "eyJ", "whsec_", "valkey://"):
        assert secret not in output
    assert becomes(lambda: everything(cluster) == before), everything(cluster) ^ before
    assert not events_in_default(cluster)
    assert becomes(lambda: not list((tmp_path / "next").iterdir()))
    assert not processes_of(tmp_path)


def is_held(cluster: Sandbox) -> bool:
    """Whether another demo seems to run."""
    try:
        refusals.check_operators(cluster)
    except DemoError as error:
        return "another demo runs" in str(error)
    return False


@pytest.mark.long
def test_ctrl_c_removes_all_objects_and_keeps_those_of_others(
    cluster: Sandbox, tmp_path: Path
) -> None:
    crd = installation.crds()[0]
    cluster.kubectl("create", "namespace", "shop")
    cluster.kubectl("apply", "--server-side", "-f", "-", stdin=yaml.safe_dump(crd))
    try:
        before = everything(cluster)
        with start(cluster, tmp_path / "interrupted", "calls") as running:
            read_to(running, "kubectl apply -f examples/shop")
            os.killpg(running.pid, signal.SIGINT)
            assert running.stdout is not None
            output = running.stdout.read()
        assert running.returncode == 130, output
        assert "the demo's objects are removed" in output
        assert becomes(lambda: everything(cluster) == before), everything(cluster) ^ before
        assert not processes_of(tmp_path)
    finally:
        cluster.kubectl("delete", "crd", crd["metadata"]["name"])
        cluster.kubectl("delete", "namespace", "shop")


def test_user_without_rights_is_told_which_are_missing(cluster: Sandbox) -> None:
    cluster.kubectl("create", "serviceaccount", "visitor")
    try:
        visitors = cluster.service_account_kubeconfig("default", "visitor")
        with (
            Sandbox.start(kubeconfig=visitors) as visitor,
            pytest.raises(DemoError, match=r"may not list custom.*, create namespaces, .* admin"),
        ):
            refusals.check_access(visitor)
    finally:
        cluster.kubectl("delete", "serviceaccount", "visitor")


def test_administrator_has_all_rights(cluster: Sandbox) -> None:
    assert refusals.check_access(cluster).startswith("v1.")


@pytest.mark.usefixtures("prefixed")
def test_cluster_without_troth_is_accepted(cluster: Sandbox) -> None:
    refusals.check_operators(cluster)
    refusals.check_objects(cluster)


@pytest.mark.usefixtures("prefixed")
@pytest.mark.parametrize(
    ("manifest", "words"),
    [
        (
            {
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "ClusterRole",
                "metadata": {"name": "x", "labels": {"troth.dev/component": "operator"}},
            },
            "ClusterRole x.* uninstall it first",
        ),
        (
            {
                "apiVersion": "coordination.k8s.io/v1",
                "kind": "Lease",
                "metadata": {"name": refusals.LEASE, "namespace": "default"},
                "spec": {"holderIdentity": "somebody"},
            },
            "somebody holds the Lease default/troth-operator; stop it, or delete the Lease",
        ),
        (
            {
                "apiVersion": "coordination.k8s.io/v1",
                "kind": "Lease",
                "metadata": {"name": "troth-claim", "namespace": "kube-public"},
                "spec": {"holderIdentity": "default"},
            },
            "the namespace default has the claim .* Lease kube-public/troth-claim; use another",
        ),
    ],
    ids=["installed", "running", "claiming"],
)
def test_operator_in_the_cluster_is_named(
    cluster: Sandbox, manifest: installation.Manifest, words: str
) -> None:
    text = yaml.safe_dump(manifest)
    cluster.kubectl("apply", "-f", "-", stdin=text)
    try:
        with pytest.raises(DemoError, match=words):
            refusals.check_operators(cluster)
    finally:
        cluster.kubectl("delete", "-f", "-", stdin=text)


@pytest.mark.usefixtures("prefixed")
def test_crd_of_another_version_or_in_use_is_named(cluster: Sandbox) -> None:
    (domains,) = (each for each in installation.crds() if "trustdomains" in str(each["metadata"]))
    older = json.loads(json.dumps(domains))
    status = older["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]
    del status["properties"]["conditions"]
    name = domains["metadata"]["name"]
    try:
        cluster.kubectl("apply", "--server-side", "-f", "-", stdin=yaml.safe_dump(older))
        with pytest.raises(DemoError, match=rf"{name} is .* lacks status\.conditions; apply "):
            refusals.check_objects(cluster)
        installation.apply_crds(cluster, domains)
        domain = next(each for each in Shop.read().manifests if each["kind"] == "TrustDomain")
        cluster.kubectl("apply", "-f", "-", stdin=yaml.safe_dump(domain))
        with pytest.raises(DemoError, match="TrustDomain production; the demo's operator would"):
            refusals.check_objects(cluster)
    finally:
        cluster.kubectl("delete", "crd", name)


def test_crds_stay_while_somebody_else_uses_them(cluster: Sandbox) -> None:
    """The demo may have been killed before it installed the others."""
    (crd,) = (each for each in installation.crds() if "messagebrokers" in str(each["metadata"]))
    crd["metadata"]["labels"] = {namespaces.MARK: "true"}
    manifests = yaml.safe_load_all((REPOSITORY / "examples/messages/nats.yaml").read_text())
    broker = next(each for each in manifests if each["kind"] == "MessageBroker")
    broker["metadata"]["namespace"] = "default"
    installation.apply_crds(cluster, crd)
    assert objects.has_remains(cluster)
    cluster.kubectl("apply", "-f", "-", stdin=yaml.safe_dump(broker))
    assert not objects.remove(cluster)
    cluster.kubectl("delete", "-f", "-", stdin=yaml.safe_dump(broker))
    assert objects.remove(cluster)
    assert not objects.has_remains(cluster)
