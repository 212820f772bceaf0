"""ServiceAccounts of several workloads."""

from collections.abc import Iterator

from troth.audit.facts.pods.running import Running
from troth.audit.finding import Evidence, Finding, Fix, Object, Patch
from troth.audit.rule import Rule
from troth.audit.rules.declared import PATCHED, again, nested
from troth.audit.rules.identity.default_service_account import DEFAULT
from troth.audit.scene import Scene
from troth.documents.probes import LABEL
from troth.resources.references import Ref
from troth.resources.reported import Severity


def _find(scene: Scene, namespace: str) -> Iterator[Finding]:
    for account, users in sorted(_users(scene, namespace).items()):
        if account == DEFAULT or len(users) == 1 or _one_identity(scene, namespace, users):
            continue
        yield Finding(
            RULE.id,
            Object("ServiceAccount", Ref(namespace, account)),
            "several workloads run as this ServiceAccount, so each has the rights of all and "
            "nobody can tell them apart; give each a ServiceAccount of its own",
            tuple(
                Evidence(
                    each.object,
                    f"{each.path}.serviceAccountName" if each.path else "",
                    f"is {account}",
                )
                for each in users
            ),
        )


def _users(scene: Scene, namespace: str) -> dict[str, list[Running]]:
    """Return the workloads of each ServiceAccount, each workload once."""
    found: dict[str, dict[Object, Running]] = {}
    for each in scene.running_in(namespace):
        if _is_probe(each):
            continue
        found.setdefault(each.spec.service_account, {}).setdefault(each.object, each)
    return {account: list(users.values()) for account, users in found.items()}


def _is_probe(running: Running) -> bool:
    """Return whether it is a Job of `troth prove`, which runs as the workload that it stands for.

    Anybody can set the label. It hides a workload from this rule, and its calls from
    `status.traffic`, which only foretells what a policy denies; it allows nothing.
    """
    return running.object.kind == "Job" and running.labels.get(LABEL) == "true"


def _one_identity(scene: Scene, namespace: str, users: list[Running]) -> bool:
    """Return whether the workloads are the same service, because one identity selects them all."""
    selected = [set(scene.identities_of(namespace, each.labels)) for each in users]
    return bool(set.intersection(*selected))


def _fix(_: Scene, finding: Finding) -> Fix:
    """Return a ServiceAccount for each workload except the first, which keeps the shared one."""
    namespace = finding.subject.ref.namespace
    manifests, patches, steps = [], [], []
    for each in finding.evidence[1:]:
        name = each.object.ref.name
        name = name if name != finding.subject.ref.name else f"{name}-{each.object.kind.lower()}"
        place = {"name": name, "namespace": namespace}
        manifests.append({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": place})
        if each.field and each.object.kind in PATCHED:
            patches.append(Patch(each.object, nested(each.field, name)))
        else:
            steps.append(again(each.object, name))
        steps.append(f"Bind the rights that {each.object} needs to the ServiceAccount {name}.")
    return Fix(tuple(manifests), tuple(patches), tuple(steps))


RULE = Rule(
    id="TR702",
    name="SharedServiceAccount",
    title="Several workloads run as one ServiceAccount.",
    severity=Severity.MEDIUM,
    reads=frozenset({"Pod", "Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob"}),
    find=_find,
    fix=_fix,
)
