"""Keys that must be planned again when a declared resource changes."""

from troth.resources.identity.spec import ServiceIdentity, ServiceIdentitySpec
from troth.resources.references import Ref
from troth.resources.trust_domain.spec import TrustDomain
from troth.trust.declarations.peers import Declared, Ports
from troth.trust.declarations.registry import Registry
from troth.world.index.rotations import rotation_key
from troth.world.keys import Keys, domain_key, identity_key, policy_key, view_key
from troth.world.state import WorldState


def around_domain(registry: Registry, domain: TrustDomain) -> Keys:
    """Return the domain, the identities it governs or claims with others, and their peers.

    The other domains of its SPIFFE trust domain are affected too, because one of them may have it.
    """
    federated = _federating(registry, domain)
    namespaces = set(registry.claimed_by(domain))
    for other in federated:
        namespaces.update(registry.claimed_by(other))
    rivals = {
        other.metadata.name
        for other in registry.domains.values()
        if namespaces.intersection(registry.claimed_by(other))
    }
    names = rivals | {other.metadata.name for other in federated}
    around = around_namespaces(registry, namespaces) | {domain_key(name) for name in names}
    return around | same_spiffe_domain(registry, domain)


def same_spiffe_domain(registry: Registry, domain: TrustDomain) -> Keys:
    """Return the trust domains with the same SPIFFE trust domain, of which one has it."""
    return {
        domain_key(other.metadata.name)
        for other in registry.domains.values()
        if other.spec.domain == domain.spec.domain
    }


def federating(registry: Registry, domain: TrustDomain) -> Keys:
    """Return the trust domains that a trust domain names, or that name it."""
    return {domain_key(other.metadata.name) for other in _federating(registry, domain)}


def _federating(registry: Registry, domain: TrustDomain) -> list[TrustDomain]:
    named = {reference.name for reference in domain.spec.federates_with}
    naming = {
        other.metadata.name
        for other in registry.domains.values()
        if any(ref.name == domain.metadata.name for ref in other.spec.federates_with)
    }
    return [registry.domains[name] for name in named | naming if name in registry.domains]


def claiming(registry: Registry, namespace: str) -> Keys:
    """Return the trust domains that select a namespace, whether one governs it or not."""
    return {domain_key(claim.metadata.name) for claim in registry.governance(namespace).claims}


def around_namespaces(registry: Registry, namespaces: set[str]) -> Keys:
    """Return the identities in namespaces, and their peers."""
    inside = {ref for namespace in namespaces for ref in registry.claimants_in(namespace)}
    inside |= {other for ref in inside for other in registry.claims.rivals(ref)}
    outside = {peer for ref in inside for peer in registry.neighbours(ref)}
    for namespace in namespaces:
        outside |= registry.webhooks.gateways_for(namespace) & registry.identities.keys()
    return {identity_key(ref) for ref in inside | outside}


def around_identity(registry: Registry, identity: ServiceIdentity, *, stays: bool) -> Keys:
    """Return the peers of an identity, and those that depend on its claims, with their peers.

    If the identity `stays`, with its ports, those to whose edges nobody consents are left out.
    Anybody may declare such edges, and nothing else of the two sides decides about them.
    """
    colliding = registry.affected_by_sharing(identity)
    peers = _consented if stays else Registry.neighbours
    affected = set(colliding) | peers(registry, identity.ref)
    for other in colliding:
        affected |= _consented(registry, other)
    return {identity_key(ref) for ref in affected}


def _consented(registry: Registry, ref: Ref) -> frozenset[Ref]:
    """Return the neighbours of an identity with an edge that its callee accepts, or may accept."""
    mine, beside = registry.declared(ref), registry.webhooks.beside(ref)
    accepted = {*mine.accepts, *beside, mine.gateway}

    def accepts(peer: Ref) -> bool:
        theirs = registry.declared(peer)
        return ref in theirs.accepts or ref == theirs.gateway

    return frozenset(peer for peer in registry.neighbours(ref) if peer in accepted or accepts(peer))


def around_claims(registry: Registry, rivals: frozenset[Ref]) -> Keys:
    """Return the identities whose claims may stand or fall, and their peers."""
    affected = {peer for ref in rivals for peer in registry.neighbours(ref)}
    return {identity_key(ref) for ref in rivals | affected}


def differs_only_in_peers(before: ServiceIdentitySpec, after: ServiceIdentitySpec) -> bool:
    """Return whether two specs of an identity differ only in its callers and callees."""
    named = {"accepts": after.accepts, "calls": after.calls}
    return before.model_copy(update=named) == after


def changed_peers(before: Declared, after: Declared) -> Keys:
    """Return the peers for which an identity's declaration changed."""
    changed = _changed(before.accepts, after.accepts) | _changed(before.calls, after.calls)
    return {identity_key(ref) for ref in changed}


def changed_scopes(before: ServiceIdentity, after: ServiceIdentity) -> Keys:
    """Return the callers whose scopes changed at an identity that requires tokens."""
    if after.spec.authentication.token is None:
        return set()
    given = [_given(identity) for identity in (before, after)]
    changed = {peer for each in given for peer in each if given[0].get(peer) != given[1].get(peer)}
    return {identity_key(ref) for ref in changed}


def _given(identity: ServiceIdentity) -> dict[Ref, list[tuple[str, ...]]]:
    given: dict[Ref, list[tuple[str, ...]]] = {}
    for each in identity.spec.accepts:
        if each.from_ is not None:
            peer = each.from_.seen_from(identity.ref.namespace)
            given.setdefault(peer, []).extend((each.ports, each.scopes))
    return given


def affected_views(registry: Registry, affected: Keys) -> Keys:
    """Return the issuers whose configuration may have changed.

    A change of an identity's peers or name can change its tokens. Empty if no domain issues tokens.
    """
    issuing = {name for name, domain in registry.domains.items() if domain.spec.tokens}
    if not issuing:
        return set()
    names = {key.ref.name for key in affected if key.kind == "TrustDomain"}
    for namespace in {key.ref.namespace for key in affected if key.kind == "ServiceIdentity"}:
        names.update(claim.metadata.name for claim in registry.governance(namespace).claims)
    return {view_key(name) for name in names & issuing}


def _changed(before: Ports, after: Ports) -> set[Ref]:
    return {peer for peer in {*before, *after} if before.get(peer) != after.get(peer)}


def everything(world: WorldState) -> Keys:
    """Return the key of every known resource."""
    declared = world.registry
    return {
        *map(identity_key, (*declared.identities, *declared.invalid_identities)),
        *map(domain_key, (*declared.domains, *declared.invalid_domains)),
        *map(view_key, (*declared.domains, *declared.invalid_domains)),
        *map(rotation_key, world.rotations.by_ref),
        *world.brokers.everything(),
        *world.webhooks.everything(),
        *world.unreadable,
        *world.deletions,
    }


def invalidate(world: WorldState, kind: str, ref: Ref, affected: Keys, *, redeclared: bool) -> Keys:
    """Drop cached results that a change affects; return all affected keys.

    `affected` are the keys that the change affects directly. `redeclared` is whether declared
    resources changed, and not only their owned objects.
    """
    if redeclared:
        affected |= affected_views(world.registry, affected)
        if kind != "WebhookEndpoint":  # no endpoint depends on another
            affected |= world.webhooks.around(kind, ref, affected)
        for named in affected:
            world.tokens.entries.pop(named.ref, None)
    affected |= world.brokers.leaving_with(affected)
    # a policy's own status affects nothing; see its handler
    others = affected - {policy_key(ref)} if kind == "TopicPolicy" else affected
    world.grants.forget(key.ref for key in others if key.kind == "TopicPolicy")
    return affected | world.rotations.concerned(affected)
