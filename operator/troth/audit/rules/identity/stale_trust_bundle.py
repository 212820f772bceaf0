"""Pods that started before a root left their trust bundle, and may still trust it."""

from collections.abc import Iterator
from datetime import datetime

from troth.audit.facts.pods.workloads import Pod
from troth.audit.finding import Evidence, Finding, Fix, Object, Patch
from troth.audit.rule import Rule
from troth.audit.rules.declared import identities_in, identity_object
from troth.audit.scene import Scene
from troth.planning.owned_objects import secret_ref
from troth.resources.identity.spec import ServiceIdentity, WorkloadKind
from troth.resources.references import Ref
from troth.resources.reported import Severity
from troth.resources.schema.scalars import format_time
from troth.resources.trust_domain.spec import TrustDomain
from troth.trust.selectors import matches

_MOST_WORKLOADS = 8


def _find(scene: Scene, namespace: str) -> Iterator[Finding]:
    domain = scene.world.registry.governance(namespace).domain
    changed = _changed(domain) if domain is not None else None
    if domain is None or changed is None:
        return
    for identity in identities_in(scene, namespace):
        if identity.spec.authentication.certificate is None or identity.spec.on_rotation:
            continue
        stale = {
            scene.workload_of(each.workload): each
            for each in scene.pods_in(namespace)
            if each.started_at is not None
            and each.started_at < changed
            and matches(identity.spec.workload.pod_selector, each.labels)
            and _mounts(each, identity, domain)
        }
        if stale:
            yield _finding(identity, domain, changed, stale)


def _finding(
    identity: ServiceIdentity, domain: TrustDomain, changed: datetime, stale: dict[Object, Pod]
) -> Finding:
    place = Object("TrustDomain", Ref("", domain.metadata.name))
    retired = f"a root left the trust bundle at {format_time(changed)}"
    return Finding(
        RULE.id,
        identity_object(identity.ref),
        "its pods started before a root left their trust bundle, and a program that does not "
        "reread its files still trusts that root; restart them, or declare onRotation",
        (
            Evidence(place, "status.retiredAuthorities", retired),
            *(
                Evidence(each, "", "has pods that started before")
                for each in sorted(stale)[:_MOST_WORKLOADS]
            ),
        ),
    )


def _changed(domain: TrustDomain) -> datetime | None:
    """Return when a root last left the domain's trust bundle, None if that is not known."""
    return max((each.retired_at for each in domain.status.retired_authorities), default=None)


def _mounts(pod: Pod, identity: ServiceIdentity, domain: TrustDomain) -> bool:
    """Return whether a pod mounts its identity's Secret or the trust bundle."""
    secret, bundle = secret_ref(identity.ref).name, domain.spec.bundle.config_map_name
    return any(each.name == secret for each in pod.spec.secrets) or any(
        each.name == bundle for each in pod.spec.config_maps
    )


def _fix(_: Scene, finding: Finding) -> Fix:
    kinds = {kind.value for kind in WorkloadKind}
    stale = [each.object for each in finding.evidence[1:]]
    restarted = [each for each in stale if each.kind in kinds]
    steps = tuple(f"Restart {each}." for each in stale if each.kind not in kinds)
    if not restarted:
        return Fix(steps=steps)
    listed = [{"kind": each.kind, "name": each.ref.name} for each in restarted]
    return Fix(
        patches=(Patch(finding.subject, {"spec": {"onRotation": {"restart": listed}}}),),
        steps=steps,
    )


RULE = Rule(
    id="TR705",
    name="StaleTrustBundle",
    title="Pods started before a root left their trust bundle, and may still trust it.",
    severity=Severity.LOW,
    reads=frozenset({"Pod", "ServiceIdentity", "TrustDomain", "Namespace"}),
    find=_find,
    fix=_fix,
)
