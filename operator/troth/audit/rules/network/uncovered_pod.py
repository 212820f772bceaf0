"""Pods of governed namespaces that no identity selects."""

from collections.abc import Iterator

from troth.audit.facts.pods.running import Running
from troth.audit.finding import Evidence, Finding, Fix, Patch
from troth.audit.rule import Rule
from troth.audit.rules.declared import PATCHED, again, nested
from troth.audit.scene import Scene
from troth.audit.skeletons import identity_skeleton, ports_of, selector_of
from troth.planning.trust_domain.facts import isolation_of
from troth.resources.metadata import NAME_LIMIT
from troth.resources.references import Ref
from troth.resources.reported import Severity
from troth.resources.trust_domain.status import Isolation
from troth.trust.selectors import matches


def _find(scene: Scene, namespace: str) -> Iterator[Finding]:
    domain = scene.world.registry.governance(namespace).domain
    if domain is None or namespace == scene.own_namespace:
        return
    denied = isolation_of(domain) is Isolation.NAMESPACE
    for found in uncovered(scene, namespace).values():
        fate = (
            "so it has no certificate and Troth denies its traffic"
            if denied
            else "so it has no certificate and Troth leaves its traffic open"
        )
        yield Finding(
            RULE.id,
            found.object,
            f"no ServiceIdentity selects its pods, {fate}; declare a ServiceIdentity for it",
            (Evidence(found.object, _labels_path(found), _shown(found)),),
            severity=Severity.LOW if denied else None,
        )


def uncovered(scene: Scene, namespace: str) -> dict[object, Running]:
    """Return the workloads with pods that neither an identity nor a MessageBroker selects."""
    brokers = [
        broker.spec.workload.pod_selector
        for ref, broker in scene.world.brokers.messaging.brokers.items()
        if ref.namespace == namespace and broker.spec.workload is not None
    ]
    found: dict[object, Running] = {}
    for each in scene.running_in(namespace):
        covered = any(True for _ in scene.identities_of(namespace, each.labels))
        if not covered and not any(matches(pods, each.labels) for pods in brokers):
            found.setdefault(each.object, each)
    return found


def _labels_path(found: Running) -> str:
    return f"{found.path.removesuffix('spec')}metadata.labels" if found.path else ""


def _shown(found: Running) -> str:
    labels = ", ".join(f"{key}={value}" for key, value in sorted(found.labels.items())[:8])
    return f"has the labels {labels}" if labels else "has no labels"


def _fix(scene: Scene, finding: Finding) -> Fix:
    """Return a ServiceIdentity in Observe mode that selects the workload's pods."""
    namespace = finding.subject.ref.namespace
    found = uncovered(scene, namespace)[finding.subject]
    if not found.labels:
        return Fix(steps=(f"Label the pods of {finding.subject}, then declare a ServiceIdentity.",))
    name = finding.subject.ref.name[:NAME_LIMIT].rstrip("-.")
    account = found.spec.service_account
    ref = Ref(namespace, name)
    labels = selector_of(scene, [found])
    manifests = [identity_skeleton(ref, account, labels, ports_of(found))]
    taken = {
        each.spec.workload.service_account_name
        for ref, each in scene.world.registry.identities.items()
        if ref.namespace == namespace
    }
    if account != "default" and account not in taken:
        return Fix(tuple(manifests))
    manifests[0]["spec"]["workload"]["serviceAccountName"] = name
    place = {"name": name, "namespace": namespace}
    manifests.append({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": place})
    rights = f"Bind the rights that {finding.subject} needs to the ServiceAccount {name}."
    if finding.subject.kind not in PATCHED or not found.path:
        return Fix(tuple(manifests), steps=(rights, again(finding.subject, name)))
    patch = Patch(finding.subject, nested(f"{found.path}.serviceAccountName", name))
    return Fix(tuple(manifests), (patch,), (rights,))


RULE = Rule(
    id="TR601",
    name="UncoveredPod",
    title="A pod of a governed namespace has no identity.",
    severity=Severity.MEDIUM,
    reads=frozenset(
        {
            *("Pod", "Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob"),
            *("ServiceIdentity", "TrustDomain", "Namespace"),
        }
    ),
    find=_find,
    fix=_fix,
)
