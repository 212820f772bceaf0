"""Workloads that run as the ServiceAccount `default`."""

from collections.abc import Iterator

from troth.audit.exposure.running import running
from troth.audit.finding import Evidence, Finding, Fix, Object, Patch
from troth.audit.rule import Rule
from troth.audit.rules.declared import PATCHED, again, nested
from troth.audit.scene import Scene
from troth.resources.reported import Severity

DEFAULT = "default"


def _find(scene: Scene, namespace: str) -> Iterator[Finding]:
    for workload in running(scene, namespace):
        if workload.spec.service_account == DEFAULT:
            field = f"{workload.path}.serviceAccountName"
            yield Finding(
                RULE.id,
                workload.object,
                "it runs as the ServiceAccount default, which every pod of the namespace gets "
                "that names none; give it a ServiceAccount of its own",
                (Evidence(workload.object, field, "is default"),),
            )


def _fix(scene: Scene, finding: Finding) -> Fix:
    kind, ref = finding.subject
    name = _account(scene, finding.subject)
    account = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": name, "namespace": ref.namespace},
    }
    rights = f"Bind the rights that {kind} {ref} needs to the ServiceAccount {name}."
    field = finding.evidence[0].field
    if kind in PATCHED and field.startswith("spec."):
        patch = Patch(finding.subject, nested(field, name))
        return Fix((account,), (patch,), (rights,))
    return Fix((account,), steps=(rights, again(finding.subject, name)))


def _account(scene: Scene, subject: Object) -> str:
    """Return a name as which no other workload runs, and that is drafted for no other."""
    name, others = subject.ref.name, running(scene, subject.ref.namespace)
    taken = {each.spec.service_account for each in others}
    taken |= {each.object.ref.name for each in others if each.object != subject}
    return f"{name}-{subject.kind.lower()}" if name in taken else name


RULE = Rule(
    id="TR701",
    name="DefaultServiceAccount",
    title="A workload runs as the ServiceAccount `default`.",
    severity=Severity.MEDIUM,
    reads=frozenset({"Pod", "Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob"}),
    find=_find,
    fix=_fix,
)
