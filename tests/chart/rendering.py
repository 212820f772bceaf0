"""The chart's objects as helm renders them."""

import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from sandbox import ensure

REPOSITORY = Path(__file__).parents[2]
CHART = REPOSITORY / "charts" / "troth"
NAMESPACE = "troth-system"
GATEWAY_NAMESPACE = "troth-gateway"
AGENT_NAMESPACE = "troth-agent"

EVERYTHING_ON = (
    "rollouts.enabled=true",
    "issuers[0].domain=production",
    "issuers[1].domain=staging",
    "issuers[1].replicas=1",
    "trustDomains[0].name=production",
    "trustDomains[0].spec.domain=prod.example",
    "trustDomains[0].spec.authority.selfManaged.keyAlgorithm=ECDSA-P256",
    "trustDomains[0].spec.environment=production",
    "trustDomains[0].spec.namespaceSelector.matchLabels.environment=production",
    "admissionPolicy.exemptUsers={system:serviceaccount:velero:velero}",
    "gateway.enabled=true",
    "gateway.namespaceLabels.environment=production",
    "gateway.valkey.secretName=valkey",
    "gateway.valkey.to[0].podSelector.matchLabels.app=valkey",
    "gateway.tls.secretName=hooks-tls",
    "gateway.trustedProxies={192.0.2.0/24,2001:db8::/32}",
    "gateway.service.type=LoadBalancer",
    "gateway.service.annotations.note=kept",
    "gateway.identity.create=true",
    "gateway.identity.allowedNamespaces.matchLabels.environment=production",
    "gateway.identity.calls[0].external.host=valkey.example",
    "gateway.identity.calls[0].external.cidrs={192.0.2.10/32}",
    "gateway.identity.calls[0].external.ports={6379}",
    "audit.enabled=true",
    "audit.secretMetadata=true",
    "audit.agent.enabled=true",
    "prove.enabled=true",
    "audit.agent.ipv6=true",
    "review.enabled=true",
    "review.policies[0].namespace=shop",
    "review.policies[0].name=orders",
    "review.brokers[0].namespace=messaging",
    "review.brokers[0].name=main",
    "review.brokers[1].namespace=messaging",
    "review.brokers[1].name=audit",
    "review.auditTopic.name=decisions",
    "review.accepts[0].unverified.cidrs={192.0.2.0/24}",
    "review.accepts[0].unverified.reason=operations",
    "review.accepts[0].ports={https}",
    "metrics.service.enabled=true",
    "metrics.service.annotations.prometheus\\.io/scrape=yes",
    "networkPolicy.enabled=true",
    "networkPolicy.apiServer.cidrs={192.0.2.10/32,2001:db8::1/128}",
    "networkPolicy.probeCIDRs={192.0.2.0/24}",
    "networkPolicy.metricsFrom[0].podSelector.matchLabels.app=prometheus",
    "networkPolicy.brokers[0].to[0].podSelector.matchLabels.app=kafka",
    "networkPolicy.brokers[0].ports={9093,9094}",
    "tracing.enabled=true",
    "tracing.endpoint=http://collector.observability.svc:4318",
    "tracing.headersSecret.name=collector-headers",
    "tracing.caConfigMap.name=collector-ca",
    "tracing.resourceAttributes.deployment\\.environment\\.name=production",
    "tracing.to[0].namespaceSelector.matchLabels.team=observability",
    "podLabels.team=platform",
    "podAnnotations.note=kept",
    "serviceAccount.annotations.note=kept",
    "imagePullSecrets[0].name=registry",
    "priorityClassName=system-cluster-critical",
    "nodeSelector.kubernetes\\.io/os=linux",
    "tolerations[0].operator=Exists",
    "affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution=null",
)
"""Values that enable every optional part of every template."""

Manifest = dict[str, Any]


def helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [ensure("helm"), *arguments], capture_output=True, text=True, check=False, timeout=60
    )


@cache
def template(
    *values: str, release: str = "troth", namespace: str = NAMESPACE, apis: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    """Return the result of `helm template` with these values; it queries no cluster, so the
    Kubernetes version is given, and `apis` that the cluster has besides Kubernetes' own.
    """
    settings = [part for value in values for part in ("--set", value)]
    settings += [f"--api-versions={api}" for api in apis]
    where = ("--namespace", namespace, "--kube-version", "1.36.0")
    return helm("template", release, str(CHART), *where, *settings)


def rendered(
    *values: str, release: str = "troth", namespace: str = NAMESPACE, apis: tuple[str, ...] = ()
) -> list[Manifest]:
    """Return new copies of the objects, because tests change them."""
    found = _everything(*values, release=release, namespace=namespace, apis=apis)
    return [each for each in found if not _is_hook(each)]


def hooks(*values: str) -> list[Manifest]:
    """Return new copies of the objects that exist only during an upgrade or a test."""
    return list(filter(_is_hook, _everything(*values)))


def _everything(
    *values: str, release: str = "troth", namespace: str = NAMESPACE, apis: tuple[str, ...] = ()
) -> list[Manifest]:
    done = template(*values, release=release, namespace=namespace, apis=apis)
    assert done.returncode == 0, done.stderr
    return [each for each in yaml.load_all(done.stdout, yaml.CSafeLoader) if each]


def _is_hook(manifest: Manifest) -> bool:
    return "helm.sh/hook" in manifest["metadata"].get("annotations", {})


def one(manifests: list[Manifest], kind: str, name: str = "") -> Manifest:
    """Return the only object of a kind, and of a name if given."""
    (found,) = [
        each
        for each in manifests
        if each["kind"] == kind and (not name or each["metadata"]["name"] == name)
    ]
    return found


def kinds(manifests: list[Manifest]) -> set[str]:
    return {each["kind"] for each in manifests}
