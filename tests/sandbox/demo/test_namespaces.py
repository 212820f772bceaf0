"""On another cluster, no object of the demo has a name or label that may be somebody else's."""

import json

import pytest
import yaml

from sandbox.demo import installation, namespaces
from sandbox.demo.namespaces import MARK, own
from sandbox.demo.shop import Shop
from sandbox.demo.webhooks.example import Example
from troth.cluster.leases.claim import CLAIM
from troth.resources.references import Ref

PREFIX = "troth-demo-"
CLUSTERS_OWN = {"default", "kube-public", "kube-system"}


@pytest.fixture
def prefixed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(namespaces, "PREFIX", PREFIX)


def test_own_cluster_has_the_names_of_the_examples() -> None:
    assert own("shop") == "shop"
    manifest = {"kind": "Namespace", "metadata": {"name": "shop"}}
    assert namespaces.renamed(manifest) == manifest


@pytest.mark.usefixtures("prefixed")
def test_other_cluster_has_a_prefix_and_a_label_in_every_object() -> None:
    for manifest in (*Shop.read().manifests, *Example.read().manifests, *installation.rights()):
        metadata = manifest["metadata"]
        assert metadata["labels"][MARK] == "true"
        if manifest["kind"] == "TrustDomain":
            continue
        if metadata.get("namespace") in CLUSTERS_OWN and manifest["kind"] == "Lease":
            assert Ref.of(manifest) == CLAIM
            continue
        outside = metadata.get("namespace", "default") in CLUSTERS_OWN
        assert metadata["name" if outside else "namespace"].startswith(PREFIX), manifest
        text = json.dumps(manifest)
        assert '"shop"' not in text
        assert "troth.dev/environment" not in text


@pytest.mark.usefixtures("prefixed")
def test_namespaces_of_the_cluster_keep_their_names() -> None:
    domain = next(each for each in Shop.read().manifests if each["kind"] == "TrustDomain")
    assert domain["spec"]["network"]["dns"]["namespace"] == "kube-system"
    assert domain["spec"]["network"]["metrics"]["namespace"] == f"{PREFIX}monitoring"


@pytest.mark.usefixtures("prefixed")
def test_bindings_name_the_renamed_roles() -> None:
    rights = installation.rights()
    names = {(each["kind"], each["metadata"]["name"]) for each in rights}
    for each in rights:
        if "roleRef" in each:
            assert (each["roleRef"]["kind"], each["roleRef"]["name"]) in names
            for subject in each["subjects"]:
                assert subject["namespace"].startswith(PREFIX)


def test_installation_is_what_the_chart_renders() -> None:
    """If not: `.venv/bin/python -m sandbox.demo.installation`."""
    wanted = list(yaml.safe_load_all(installation.render()))
    assert list(yaml.safe_load_all(installation.FILE.read_text())) == wanted
