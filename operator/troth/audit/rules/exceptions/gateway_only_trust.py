"""Workloads that trust their gateway instead of authenticating callers."""

from collections.abc import Iterator

from troth.audit.finding import Evidence, Finding, Fix, Patch
from troth.audit.rule import Rule
from troth.audit.rules.declared import identities_in, identity_object, to_mtls
from troth.audit.scene import Scene
from troth.resources.identity.authentication import GATEWAY_TRUST_LIMIT
from troth.resources.reported import Severity
from troth.resources.schema.scalars import format_time
from troth.trust.declarations.trust_records import UNREADABLE
from troth.trust.edges.gateway_trust import first_accepted, gateway_trust_fault, trust_ends

FIELD = "spec.authentication.gatewayOnly"


def _find(scene: Scene, namespace: str) -> Iterator[Finding]:
    registry = scene.world.registry
    for identity in identities_in(scene, namespace):
        trust = identity.spec.authentication.gateway_only
        if trust is None or gateway_trust_fault(identity, registry, scene.now) is not None:
            continue
        subject = identity_object(identity.ref)
        since = first_accepted(identity, registry)
        end = trust_ends(trust.expires_at, since)
        evidence = [Evidence(subject, FIELD, f"names {trust.owner} as its owner")]
        evidence.append(Evidence(subject, f"{FIELD}.expiresAt", f"ends at {format_time(end)}"))
        if since is not None and since != UNREADABLE:
            shows = f"trusts its gateway since {format_time(since)}"
            evidence.append(Evidence(subject, "status.gatewayTrustedSince", shows))
        extended = since is not None and since != UNREADABLE and end > since + GATEWAY_TRUST_LIMIT
        was = f"was extended beyond {GATEWAY_TRUST_LIMIT.days} days" if extended else "is temporary"
        yield Finding(
            RULE.id,
            subject,
            f"it accepts every request of its gateway without proof, and this trust {was}; use "
            "mtls or token before it ends",
            tuple(evidence),
            severity=Severity.MEDIUM if extended else None,
        )


def _fix(_: Scene, finding: Finding) -> Fix:
    step = (
        "Let the program serve TLS with the files of its Secret, or run a proxy beside it that "
        "does, before you apply the patch."
    )
    return Fix(patches=(Patch(finding.subject, to_mtls()),), steps=(step,))


RULE = Rule(
    id="TR501",
    name="GatewayOnlyTrust",
    title="A workload trusts its gateway instead of authenticating its callers.",
    severity=Severity.LOW,
    reads=frozenset({"ServiceIdentity", "TrustDomain"}),
    find=_find,
    fix=_fix,
)
