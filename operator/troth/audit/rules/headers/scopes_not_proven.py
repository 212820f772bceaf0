"""Ports with scopes at which nobody has seen a forged or a foreign token rejected."""

from collections.abc import Iterator

from troth.audit.finding import Evidence, Finding, Fix, Object
from troth.audit.rule import Rule
from troth.audit.scene import Scene
from troth.resources.identity.spec import ServiceIdentity
from troth.resources.reported import Expectation, Layer, Proof, ProofResult, Severity

_OF_TOKENS = frozenset({"OtherToken", "ForgedHeaders"})
_OF_CERTIFICATES = frozenset({"OtherCertificate"})
"""Probes that show that a service looks at who calls. With tokens, its certificates alone do not
show that it verifies scopes."""


def _find(scene: Scene, namespace: str) -> Iterator[Finding]:
    if not scene.in_cluster:
        return
    registry = scene.world.registry
    for ref in sorted(registry.identities_in(namespace)):
        identity = registry.identities[ref]
        for port, number in sorted(_ports_with_scopes(identity).items()):
            proofs = [each for each in identity.status.proofs if _is_about(each, identity, port)]
            broken = [each for each in proofs if each.result is ProofResult.DISPROVEN]
            if not broken and any(map(_shows_rejection, proofs)):
                continue
            subject = Object("ServiceIdentity", ref)
            evidence = [Evidence(subject, f"spec.accepts[{number}].scopes", f"are of port {port}")]
            if broken:
                message = (
                    f"port {port} has scopes, and accepted a caller that it must reject; let the "
                    "service verify tokens, and probe it again with troth prove"
                )
                shows = f"the probe {broken[0].probe} was not rejected"
                evidence.append(Evidence(subject, "status.proofs", shows))
            else:
                message = (
                    f"port {port} has scopes, and nobody has seen it reject a foreign token; probe "
                    "it with troth prove"
                )
            yield Finding(RULE.id, subject, message, tuple(evidence), about=port)


def _ports_with_scopes(identity: ServiceIdentity) -> dict[str, int]:
    """Return the ports on which a caller has scopes, with the position of the first such entry."""
    found: dict[str, int] = {}
    for number, each in enumerate(identity.spec.accepts):
        for port in each.ports if each.scopes else ():
            found.setdefault(port, number)
    return found


def _is_about(proof: Proof, identity: ServiceIdentity, port: str) -> bool:
    probes = _OF_TOKENS
    if identity.spec.authentication.token is None:
        probes |= _OF_CERTIFICATES
    expected = proof.expectation is Expectation.FAILS
    return proof.port == port and expected and proof.probe in probes


def _shows_rejection(proof: Proof) -> bool:
    """Return whether the service itself rejected a probe; the network rejects whatever it says."""
    return proof.result is ProofResult.PROVEN and proof.layer is not Layer.NETWORK


def _fix(_: Scene, finding: Finding) -> Fix:
    ref = finding.subject.ref
    return Fix(
        steps=(
            "Let the service verify scopes with troth.edge, or as docs/tokens.md describes.",
            f"Run troth prove --identity {ref}, which writes what it saw into status.proofs.",
        )
    )


RULE = Rule(
    id="TR403",
    name="ScopesNotProven",
    title="A port has scopes, and nobody has seen the service reject a foreign token.",
    severity=Severity.LOW,
    reads=frozenset({"ServiceIdentity"}),
    find=_find,
    fix=_fix,
)
