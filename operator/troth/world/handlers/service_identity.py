"""Taking in ServiceIdentities, and whom a change of one concerns."""

from collections.abc import Iterator

from troth.resources.identity.spec import ServiceIdentity
from troth.resources.identity.status import Direction
from troth.resources.metadata import is_terminating
from troth.resources.references import Ref
from troth.trust.edges import CALLEE_NOT_NARROWED, CALLER_NOT_NARROWED
from troth.trust.narrowing import Narrowing
from troth.world.change import Change
from troth.world.facts.objects import Unreadable
from troth.world.handlers.webhook_endpoint import gateways_of
from troth.world.invalidation import (
    around_identity,
    concerns_named_peers_alone,
    given_anew,
    named_anew,
)
from troth.world.keys import Keys, identity_key
from troth.world.observation.resources import parsed, says_terminating
from troth.world.state import WorldState


def take_identity(world: WorldState, change: Change) -> Keys:
    """Take in a ServiceIdentity as it is now; return whom that concerns."""
    ref, manifest = change.ref, change.manifest
    key, registry = identity_key(ref), world.registry
    before, declared = registry.claimants.get(ref), registry.declared(ref)
    after, fault = parsed(manifest, ServiceIdentity)
    world.unreadable.pop(key, None)
    terminating = says_terminating(manifest)
    held = _hold_closed(world, ref, before, after) if after is not None else set()
    if manifest is None:
        registry.note_unapplied(ref, None)
    if after is not None and before is not None and is_terminating(before) == terminating:
        if before.spec == after.spec:
            registry.refresh_identity(after)
            return {key} | held
        if not terminating and concerns_named_peers_alone(before.spec, after.spec):
            registry.put_identity(after)
            anew = named_anew(declared, registry.declared(ref))
            return {key} | held | anew | given_anew(before, after) | gateways_of(registry, ref)
    affected = around_identity(world.registry, before) if before else set()
    affected |= world.brokers.take_identity(
        ref,
        None if terminating else after,
        readable=after is not None or manifest is None or terminating,
    )
    if terminating or any(each and _is_waited_for(each) for each in (before, after)):
        affected |= world.rotating()
    if after is not None:
        registry.put_identity(after)
        affected |= around_identity(world.registry, after)
    elif manifest is None or terminating:  # what is being deleted has no edge, whatever it says
        registry.drop_identity(ref)
    else:
        registry.refuse_identity(ref, fault)
    if manifest is not None and after is None:
        world.unreadable[key] = Unreadable(manifest, fault)
    affected |= {identity_key(other) for other in registry.naming(ref)}
    colliding = (each.ref for each in affected if each.kind == "ServiceIdentity")
    unread = (each for each in registry.invalid_identities if each.namespace == ref.namespace)
    return affected | {key} | held | world.brokers.around_identities({*colliding, *unread})


def _is_waited_for(identity: ServiceIdentity) -> bool:
    """Say whether it may concern a rotation that an identity comes or goes."""
    return identity.spec.on_rotation is not None or is_terminating(identity)


def _hold_closed(
    world: WorldState, ref: Ref, before: ServiceIdentity | None, after: ServiceIdentity
) -> Keys:
    """Hold closed the edges that an identity's status says are closed for want of a narrowing.

    After a restart, or when another copy begins to lead, nobody has tried to write the document
    yet. Until planning has compared it with what is declared, nothing opens again; a status that
    is wrong about it can close an edge for that long and no longer. A status that says so no more
    is the leader's word that the document is written. Return whom that concerns.
    """
    said, said_before = _said(after), _said(before) if before is not None else Narrowing()
    over = said_before and not said
    known = world.registry.unapplied.get(ref, Narrowing())
    if not world.registry.note_unapplied(ref, None if over else known.joined(said)):
        return set()
    return {identity_key(peer) for peer in world.registry.neighbours(ref)}


def _said(identity: ServiceIdentity) -> Narrowing:
    """Return which edges a status says are closed until the identity's document is narrowed."""
    return Narrowing(
        callers=frozenset(_closed(identity, Direction.INBOUND, CALLEE_NOT_NARROWED)),
        callees=frozenset(_closed(identity, Direction.OUTBOUND, CALLER_NOT_NARROWED)),
    )


def _closed(identity: ServiceIdentity, direction: Direction, reason: str) -> Iterator[Ref]:
    for edge in identity.status.edges:
        if (edge.direction, edge.reason) == (direction, reason):
            namespace, _, name = edge.peer.partition("/")
            yield Ref(namespace, name)
