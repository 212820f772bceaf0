"""Trust domains in which the callee alone opens an edge."""

from collections.abc import Iterator

from troth.audit.finding import Evidence, Finding, Fix, Object, Patch
from troth.audit.rule import Rule, Scope
from troth.audit.rules.declared import entries, identities_in, identity_patch
from troth.audit.scene import Scene
from troth.resources.references import Ref
from troth.resources.reported import Severity
from troth.resources.trust_domain.spec import Consent


def _find(scene: Scene, _: str) -> Iterator[Finding]:
    for name, domain in sorted(scene.world.registry.domains.items()):
        if domain.spec.consent is Consent.CALLEE:
            subject = Object("TrustDomain", Ref("", name))
            yield Finding(
                RULE.id,
                subject,
                "a callee alone opens an edge, so the caller's declaration shows neither what it "
                "reaches nor what its egress admits; set consent: Mutual",
                (Evidence(subject, "spec.consent", "is Callee"),),
            )


def _fix(scene: Scene, finding: Finding) -> Fix:
    """Return the patch of the domain, and of each caller the calls that only its callees declare.

    With them, the edges that are open stay open.
    """
    registry = scene.world.registry
    missing: dict[Ref, dict[Ref, dict[str, None]]] = {}
    for namespace in registry.governed_by(finding.subject.ref.name):
        for callee in identities_in(scene, namespace):
            for accepted in callee.spec.accepts:
                if accepted.from_ is None:
                    continue
                caller = accepted.from_.seen_from(namespace)
                declared = registry.declared(caller).calls.get(callee.ref, ())
                ports = [each for each in accepted.ports if each not in declared]
                if caller in registry.identities and ports:
                    called = missing.setdefault(caller, {}).setdefault(callee.ref, {})
                    called.update(dict.fromkeys(ports))
    patches = [
        identity_patch(caller, calls=[*entries(scene, caller, "calls"), *_calls(caller, called)])
        for caller, called in sorted(missing.items())
    ]
    return Fix(patches=(*patches, Patch(finding.subject, {"spec": {"consent": "Mutual"}})))


def _calls(caller: Ref, called: dict[Ref, dict[str, None]]) -> Iterator[dict[str, object]]:
    for callee, ports in sorted(called.items()):
        place = {} if callee.namespace == caller.namespace else {"namespace": callee.namespace}
        yield {"to": {"name": callee.name, **place}, "ports": list(ports)}


RULE = Rule(
    id="TR504",
    name="CalleeConsent",
    title="A TrustDomain opens edges by the declaration of the callee alone.",
    severity=Severity.LOW,
    reads=frozenset({"TrustDomain"}),
    find=_find,
    fix=_fix,
    scope=Scope.CLUSTER,
)
