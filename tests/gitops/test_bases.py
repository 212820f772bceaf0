"""examples/ as Kustomize bases, and the Deployments of the shop."""

import asyncio
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from sandbox import CommandError, Sandbox
from sandbox.tools import ensure
from tests.builders import NOW, Manifest
from tests.cluster.conftest import separate_sandbox, with_crds
from troth.reconcile.rehearsal import Rehearsal
from troth.resources.references import Ref

EXAMPLES = Path(__file__).parents[2] / "examples"
DECLARATIONS = ("shop", "rotation", "webhooks", "reviews")
BASES = (*DECLARATIONS, "workloads", "gitops/flux", "gitops/argocd")
"""Folders of which every manifest is in the base. That of messages has one of two brokers."""
OWN = "troth-system"


def manifests(text: str) -> dict[tuple[str, Ref], Manifest]:
    return {(each["kind"], Ref.of(each)): each for each in yaml.safe_load_all(text) if each}


def in_files(folder: str) -> dict[tuple[str, Ref], Manifest]:
    files = sorted((EXAMPLES / folder).glob("*.yaml"))
    return manifests("\n---\n".join(file.read_text() for file in files))


def built(folder: str) -> dict[tuple[str, Ref], Manifest]:
    answer = subprocess.run(
        [ensure("kubectl"), "kustomize", EXAMPLES / folder],
        check=True,
        capture_output=True,
        text=True,
    )
    return manifests(answer.stdout)


# The bases


@pytest.mark.parametrize("folder", BASES)
def test_base_has_the_objects_of_the_folder(folder: str) -> None:
    assert built(folder) == in_files(folder)


def test_base_of_messages_has_one_broker() -> None:
    declared = built("messages")
    assert declared == manifests((EXAMPLES / "messages" / "nats.yaml").read_text())
    assert declared.keys() <= in_files("messages").keys()


@pytest.fixture(scope="module")
def without_crds() -> Iterator[Sandbox]:
    yield from separate_sandbox()


def test_base_that_is_applied_before_the_crds_names_them_and_succeeds_afterwards(
    without_crds: Sandbox,
) -> None:
    apply = ("apply", "-k", str(EXAMPLES / "shop"))
    with pytest.raises(CommandError) as failed:
        without_crds.kubectl(*apply)
    for kind in ("TrustDomain", "ServiceIdentity"):
        assert f'no matches for kind "{kind}" in version "troth.dev/v1alpha1"' in str(failed.value)
    assert "ensure CRDs are installed first" in str(failed.value)
    with_crds(without_crds).kubectl(*apply)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    """Yield a control plane with the shop, in whose namespaces the other folders have objects."""
    for sandbox in separate_sandbox():
        with_crds(sandbox).kubectl("create", "namespace", OWN)
        sandbox.kubectl("apply", "-f", str(EXAMPLES / "shop"))
        yield sandbox


@pytest.mark.parametrize("folder", [*DECLARATIONS, "messages", "workloads"])
def test_api_server_accepts_the_folder_as_files_and_as_a_base(
    sandbox: Sandbox, folder: str
) -> None:
    for option in ("-k", "-f"):
        sandbox.kubectl("apply", "--validate=strict", option, str(EXAMPLES / folder))


def test_health_checks_leave_the_other_settings_of_argo_cd(sandbox: Sandbox) -> None:
    sandbox.kubectl("create", "namespace", "argocd")
    place = ("configmap", "argocd-cm", "-n", "argocd")
    sandbox.kubectl("create", *place, "--from-literal=url=https://argocd.shop.example")
    folder = EXAMPLES / "gitops" / "argocd" / "health"
    sandbox.kubectl("apply", "--server-side", "-k", str(folder))
    found = yaml.safe_load(sandbox.kubectl("get", *place, "-o", "yaml"))["data"]
    assert found.pop("url") == "https://argocd.shop.example"
    ((_, config),) = built("gitops/argocd/health").items()
    assert found == config["data"]


# The Deployments


def mounted(deployment: Manifest) -> dict[str, Manifest]:
    """Return the volumes that the container of a Deployment mounts, by name."""
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    names = {each["name"] for each in container.get("volumeMounts", [])}
    assert names == {each["name"] for each in pod.get("volumes", [])}
    return {each["name"]: each for each in pod.get("volumes", [])}


def deployments() -> dict[Ref, Manifest]:
    return {
        ref: each for (kind, ref), each in in_files("workloads").items() if kind == "Deployment"
    }


def identities() -> dict[Ref, Manifest]:
    return {
        ref: each for (kind, ref), each in in_files("shop").items() if kind == "ServiceIdentity"
    }


def test_each_identity_has_a_deployment_that_it_selects() -> None:
    found = deployments()
    assert found.keys() == identities().keys()
    for ref, identity in identities().items():
        template, workload = found[ref]["spec"]["template"], identity["spec"]["workload"]
        assert template["metadata"]["labels"] == workload["podSelector"]["matchLabels"], ref
        assert template["spec"]["serviceAccountName"] == workload["serviceAccountName"], ref
        (container,) = template["spec"]["containers"]
        opened = {each["name"]: each["containerPort"] for each in container.get("ports", [])}
        declared = {each["name"]: each["port"] for each in workload.get("ports", [])}
        assert opened == declared, ref


def test_deployments_satisfy_the_restricted_pod_security_standard() -> None:
    """https://kubernetes.io/docs/concepts/security/pod-security-standards/"""
    for ref, deployment in deployments().items():
        pod = deployment["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        assert pod["securityContext"]["runAsNonRoot"] is True, ref
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, ref
        assert container["securityContext"]["allowPrivilegeEscalation"] is False, ref
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}, ref


def test_deployments_mount_what_troth_writes() -> None:
    watched = ("Namespace", "Service", "TrustDomain", "ServiceIdentity")
    declared = [each for (kind, _), each in in_files("shop").items() if kind in watched]
    for each in declared:
        if each["kind"] == "Namespace":  # as the API server does
            name = each["metadata"]["name"]
            each["metadata"].setdefault("labels", {})["kubernetes.io/metadata.name"] = name
    cluster = Rehearsal(declared)
    asyncio.run(cluster.converge(OWN, NOW))
    for ref, deployment in deployments().items():
        volumes = mounted(deployment)
        certified = ("Secret", Ref(ref.namespace, f"{ref.name}-identity")) in cluster.objects
        assert ("identity" in volumes) == certified, ref
        for each in volumes.values():
            assert _exists(each, ref, cluster) or each["secret"]["optional"], (ref, each)


def test_deployments_that_publish_or_consume_mount_the_credential_of_the_broker() -> None:
    (broker,) = (ref for kind, ref in built("messages") if kind == "MessageBroker")
    for ref, identity in identities().items():
        uses = identity["spec"].get("publishes", []) + identity["spec"].get("consumes", [])
        secrets = [_source(each)[1] for each in mounted(deployments()[ref]).values()]
        assert (f"{ref.name}-{broker.name}" in secrets) == bool(uses), ref


def test_deployments_that_verify_tokens_mount_their_keys() -> None:
    for ref, identity in identities().items():
        if "token" in identity["spec"]["authentication"]:
            assert ("ConfigMap", "trust-bundle") in map(
                _source, mounted(deployments()[ref]).values()
            )


def _source(volume: Manifest) -> tuple[str, str]:
    if "secret" in volume:
        return "Secret", volume["secret"]["secretName"]
    return "ConfigMap", volume["configMap"]["name"]


def _exists(volume: Manifest, ref: Ref, cluster: Rehearsal) -> bool:
    kind, name = _source(volume)
    return (kind, Ref(ref.namespace, name)) in cluster.objects


# The objects of Flux and Argo CD


def test_flux_applies_existing_folders_in_the_documented_order() -> None:
    found = {
        ref.name: each["spec"]
        for (kind, ref), each in built("gitops/flux").items()
        if kind == "Kustomization"
    }
    for each in found.values():
        assert (EXAMPLES.parent / each["path"] / "Kustomization").exists(), each["path"]
        assert each["wait"] is True
        assert each["prune"] is True
    needs: dict[str, Any] = {
        name: [each["name"] for each in spec.get("dependsOn", [])] for name, spec in found.items()
    }
    assert needs == {"troth": [], "shop": ["troth"], "shop-workloads": ["shop"]}


def test_argo_cd_applies_existing_folders() -> None:
    found = {each["spec"]["source"]["path"] for each in built("gitops/argocd").values()}
    assert found == {"charts/troth", "examples/shop", "examples/workloads"}
    assert all((EXAMPLES.parent / path).is_dir() for path in found)


def test_health_checks_are_keys_of_argo_cds_configuration() -> None:
    """`resource.customizations.health.<group>_<kind>` of the ConfigMap `argocd-cm`."""
    ((place, config),) = built("gitops/argocd/health").items()
    assert place == ("ConfigMap", Ref("argocd", "argocd-cm"))
    folder = EXAMPLES / "gitops" / "argocd" / "health" / "troth.dev"
    assert config["data"] == {
        f"resource.customizations.health.troth.dev_{each.name}": (each / "health.lua").read_text()
        for each in folder.iterdir()
    }
