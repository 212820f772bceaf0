"""Who must be looked at again when something that is declared changes."""

from troth.resources.references import Ref
from troth.resources.service_identity import ServiceIdentity, ServiceIdentitySpec
from troth.resources.trust_domain import TrustDomain
from troth.trust.declared import Ports
from troth.trust.registry import Declared, Registry
from troth.world.keys import Keys, domain_key, identity_key


def around_domain(registry: Registry, domain: TrustDomain) -> Keys:
    """Return whom a trust domain concerns: those it governs or rivals, and their peers."""
    named = {reference.name for reference in domain.spec.federates_with}
    naming = {
        other.metadata.name
        for other in registry.domains.values()
        if any(ref.name == domain.metadata.name for ref in other.spec.federates_with)
    }
    federated = [registry.domains[name] for name in named | naming if name in registry.domains]
    namespaces = set(registry.claimed_by(domain))
    for other in federated:
        namespaces.update(registry.claimed_by(other))
    rivals = {
        other.metadata.name
        for other in registry.domains.values()
        if namespaces.intersection(registry.claimed_by(other))
    }
    names = rivals | {other.metadata.name for other in federated}
    return around_namespaces(registry, namespaces) | {domain_key(name) for name in names}


def around_namespaces(registry: Registry, namespaces: set[str]) -> Keys:
    """Return the identities in namespaces, and their peers."""
    inside = {ref for namespace in namespaces for ref in registry.identities_in(namespace)}
    outside = {peer for ref in inside for peer in registry.neighbours(ref)}
    return {identity_key(ref) for ref in inside | outside}


def around_identity(registry: Registry, identity: ServiceIdentity) -> Keys:
    """Return the peers of an identity, and those it collides with, with theirs."""
    colliding = registry.colliding(identity)
    affected = set(colliding) | registry.neighbours(identity.ref)
    for other in colliding:
        affected |= registry.neighbours(other)
    return {identity_key(ref) for ref in affected}


def concerns_named_peers_alone(before: ServiceIdentitySpec, after: ServiceIdentitySpec) -> bool:
    """Say whether two specs of an identity differ in nothing but whom it accepts and calls."""
    named = {"accepts": after.accepts, "calls": after.calls}
    return before.model_copy(update=named) == after


def named_anew(before: Declared, after: Declared) -> Keys:
    """Return the peers of whom an identity declares anything else than before."""
    changed = _changed(before.accepts, after.accepts) | _changed(before.calls, after.calls)
    return {identity_key(ref) for ref in changed}


def _changed(before: Ports, after: Ports) -> set[Ref]:
    return {peer for peer in {*before, *after} if before.get(peer) != after.get(peer)}
