"""Exceptions that have expired and are still declared, or still hold."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from troth.audit.facts.members import items
from troth.audit.finding import Evidence, Finding, Fix, Object, Patch
from troth.audit.rule import Rule
from troth.audit.rules.declared import identities_in, identity_object, to_mtls
from troth.audit.rules.exceptions.unverified_peer import about, without_entry
from troth.audit.scene import Scene
from troth.planning.network.external_peers import pods_in, unverified_peers
from troth.planning.owned_objects import policy_ref
from troth.resources.identity.spec import ServiceIdentity
from troth.resources.references import Ref
from troth.resources.reported import Severity
from troth.trust.edges.gateway_trust import gateway_trust_fault

GATEWAY_ONLY = "gatewayOnly"
_EXPIRED = frozenset({"GatewayTrustExpired", "GatewayTrustEnded"})


@dataclass(frozen=True, slots=True)
class _Expired:
    """Exception of an identity that has expired."""

    identity: ServiceIdentity
    message: str
    evidence: Evidence
    peers: list[dict[str, Any]] = field(repr=False)
    """Its peers in the form of a NetworkPolicy."""
    about: str


def _gateway_trust(scene: Scene, namespace: str) -> Iterator[Finding]:
    registry = scene.world.registry
    for identity in identities_in(scene, namespace):
        trust = identity.spec.authentication.gateway_only
        fault = gateway_trust_fault(identity, registry, scene.now)
        if trust is None or fault is None or fault.reason not in _EXPIRED:
            continue
        subject = identity_object(identity.ref)
        gateway = registry.identities.get(trust.gateway.seen_from(namespace))
        pods = gateway.spec.workload.pod_selector if gateway is not None else None
        peers = [pods_in(gateway.ref.namespace, pods)] if gateway and pods else []
        evidence = Evidence(subject, "spec.authentication.gatewayOnly", "has expired")
        message = "its gateway-only trust has expired, so nobody is accepted; use mtls or token"
        yield _finding(scene, _Expired(identity, message, evidence, peers, GATEWAY_ONLY))


def _unverified(scene: Scene, namespace: str) -> Iterator[Finding]:
    for identity in identities_in(scene, namespace):
        subject = identity_object(identity.ref)
        for number, accepted in enumerate(identity.spec.accepts):
            peer = accepted.unverified
            if peer is None or peer.fault(scene.now) != "UnverifiedExpired":
                continue
            evidence = Evidence(subject, f"spec.accepts[{number}].unverified", "has expired")
            message = "it lists a peer without an identity whose time is over; remove the entry"
            peers = list(unverified_peers(identity, peer))
            yield _finding(
                scene, _Expired(identity, message, evidence, peers, about(accepted, peer))
            )


SOURCES: tuple[Callable[[Scene, str], Iterator[Finding]], ...] = (_gateway_trust, _unverified)
"""What finds expired exceptions of each kind in a namespace."""


def _find(scene: Scene, namespace: str) -> Iterator[Finding]:
    for source in SOURCES:
        yield from source(scene, namespace)


def _finding(scene: Scene, expired: _Expired) -> Finding:
    """Return the finding about an exception. It is worse while the network is still open."""
    ref, message, evidence = expired.identity.ref, expired.message, [expired.evidence]
    open_rule = _open_rule(scene, policy_ref(ref), expired.peers)
    if open_rule is not None:
        evidence.append(open_rule)
        message = (
            "an exception has expired and its NetworkPolicy still opens the network to the peer; "
            "see why Troth does not write the NetworkPolicy, and remove the exception"
        )
    severity = Severity.HIGH if open_rule is not None else None
    subject = identity_object(ref)
    return Finding(RULE.id, subject, message, tuple(evidence), expired.about, severity=severity)


def _open_rule(scene: Scene, policy: Ref, peers: list[dict[str, Any]]) -> Evidence | None:
    """Return the rule of an identity's NetworkPolicy that still admits one of these peers."""
    for number, rule in items(scene.object("NetworkPolicy", policy), "spec", "ingress"):
        if any(each in peers for _, each in items(rule, "from")):
            place = Object("NetworkPolicy", policy)
            return Evidence(place, f"spec.ingress[{number}]", "still admits the peer")
    return None


def _fix(scene: Scene, finding: Finding) -> Fix:
    if finding.about != GATEWAY_ONLY:
        return without_entry(scene, finding)
    step = (
        "Let the program serve TLS with the files of its Secret. Nobody is accepted until it does, "
        "as now."
    )
    return Fix(patches=(Patch(finding.subject, to_mtls()),), steps=(step,))


RULE = Rule(
    id="TR503",
    name="ExpiredException",
    title="An exception has expired and is still declared.",
    severity=Severity.MEDIUM,
    reads=frozenset({"ServiceIdentity", "NetworkPolicy"}),
    find=_find,
    fix=_fix,
)
