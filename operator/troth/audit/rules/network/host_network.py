"""Pods of governed namespaces in the network of their node."""

from collections.abc import Iterator

from troth.audit.finding import Evidence, Finding, Fix, Patch
from troth.audit.rule import Rule
from troth.audit.rules.declared import PATCHED, nested
from troth.audit.scene import Scene
from troth.resources.reported import Severity


def _find(scene: Scene, namespace: str) -> Iterator[Finding]:
    if not scene.is_governed(namespace) or namespace == scene.own_namespace:
        return
    found = {each.object: each for each in scene.running_in(namespace) if each.spec.host_network}
    for subject, each in found.items():
        field = f"{each.path}.hostNetwork" if each.path else ""
        yield Finding(
            RULE.id,
            subject,
            "its pods use the network of their node, where NetworkPolicies do not apply, so they "
            "reach every peer and every caller reaches them; remove hostNetwork, or move the "
            "workload to a namespace that no TrustDomain governs",
            (Evidence(subject, field, "is in the network of its node"),),
        )


def _fix(_: Scene, finding: Finding) -> Fix:
    step = (
        f"Find out why {finding.subject} needs the network of its node. If it does, move it to a "
        "namespace that no TrustDomain governs, and restrict it with a firewall on the nodes."
    )
    field = finding.evidence[0].field
    if not field or finding.subject.kind not in PATCHED:
        return Fix(steps=(step,))
    return Fix(patches=(Patch(finding.subject, nested(field, None)),), steps=(step,))


RULE = Rule(
    id="TR603",
    name="HostNetwork",
    title="A pod of a governed namespace is in the network of its node.",
    severity=Severity.MEDIUM,
    reads=frozenset(
        {
            *("Pod", "Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob"),
            *("TrustDomain", "Namespace"),
        }
    ),
    find=_find,
    fix=_fix,
)
