"""NetworkPolicies that do not take effect, as probes have shown."""

from collections.abc import Iterator

from troth.audit.finding import Evidence, Finding, Fix
from troth.audit.rule import Rule, Scope
from troth.audit.rules.declared import identity_object
from troth.audit.scene import Scene
from troth.resources.identity.spec import Enforcement, ServiceIdentity
from troth.resources.reported import Layer, Proof, ProofResult, Severity

PROBE = "UndeclaredEdge"
"""Name of the probe of a pair without an edge."""


def _find(scene: Scene, _: str) -> Iterator[Finding]:
    registry = scene.world.registry
    passed = [
        (registry.identities[ref], proofs)
        for ref in sorted(registry.identities)
        if (proofs := _passed(registry.identities[ref]))
    ]
    everywhere = len(passed) > 1
    for identity, proofs in passed:
        message = (
            "probes without an edge reach this identity and others, so the cluster network does "
            "not enforce NetworkPolicies; install a network plugin that does"
            if everywhere
            else "a probe without an edge reaches this identity, so something opens its network; "
            "look for another NetworkPolicy that selects its pods, and for pods in the host network"
        )
        subject = identity_object(identity.ref)
        evidence = tuple(
            Evidence(subject, "status.proofs", f"{proof.peer} reached port {proof.port}")
            for proof in proofs
        )
        severity = None if everywhere else Severity.HIGH
        yield Finding(RULE.id, subject, message, evidence, severity=severity)


def _passed(identity: ServiceIdentity) -> list[Proof]:
    """Return the probes of pairs without an edge that the network allowed."""
    if identity.spec.enforcement is not Enforcement.ENFORCE:
        return []
    return [
        each
        for each in identity.status.proofs
        if each.probe == PROBE
        and each.result is ProofResult.DISPROVEN
        and each.layer is Layer.NETWORK
    ]


def _fix(_: Scene, finding: Finding) -> Fix:
    if finding.severity is not None:
        search = "Run `troth audit` and mend the findings TR602 and TR603 of the namespace."
        return Fix(steps=(search, f"Run `troth prove` for {finding.subject} again."))
    return Fix(
        steps=(
            (
                "Install a network plugin that enforces NetworkPolicies, such as Calico, Cilium or "
                "kube-router."
            ),
            f"Run `troth prove` for {finding.subject} again.",
        )
    )


RULE = Rule(
    id="TR604",
    name="NotEnforced",
    title="A probe passed between a pair of identities without an edge.",
    severity=Severity.CRITICAL,
    reads=frozenset({"ServiceIdentity"}),
    find=_find,
    fix=_fix,
    scope=Scope.CLUSTER,
    sources=frozenset({"probes"}),
)
