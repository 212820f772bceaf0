"""Handler of ServiceIdentities."""

from troth.resources.identity.spec import ServiceIdentity
from troth.resources.metadata import is_terminating
from troth.resources.references import Ref
from troth.trust.declarations.narrowing import Narrowing
from troth.world.change import Change
from troth.world.facts.objects import Unreadable
from troth.world.handlers.webhook_endpoint import gateways_of
from troth.world.invalidation import (
    around_claims,
    around_identity,
    changed_peers,
    changed_scopes,
    claiming,
    differs_only_in_peers,
)
from troth.world.keys import Keys, identity_key
from troth.world.observation.narrowing import reported_narrowing
from troth.world.observation.resources import accepted_claims, parsed, says_terminating
from troth.world.state import WorldState


def take_identity(world: WorldState, change: Change) -> Keys:
    """Take in the current state of a ServiceIdentity; return the affected keys."""
    claims, ref = world.registry.claims, change.ref
    before, rivals = claims.of(ref), claims.rivals(ref)
    unisolated = _keeps_unisolated(world, ref)
    affected = _take(world, change)
    if unisolated != _keeps_unisolated(world, ref):
        affected |= claiming(world.registry, ref.namespace)
    if claims.of(ref) != before:
        affected |= around_claims(world.registry, rivals | claims.rivals(ref))
    return affected


def _keeps_unisolated(world: WorldState, ref: Ref) -> tuple[bool, bool]:
    """Return what of an identity decides whether its namespace is isolated."""
    registry = world.registry
    return ref.namespace in registry.observing(), ref in registry.invalid_identities


def _take(world: WorldState, change: Change) -> Keys:
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
        if not terminating and differs_only_in_peers(before.spec, after.spec):
            registry.put_identity(after)
            peers = changed_peers(declared, registry.declared(ref))
            return {key} | held | peers | changed_scopes(before, after) | gateways_of(registry, ref)
    stays = not terminating and _stays(before, after)
    affected = around_identity(registry, before, stays=stays) if before else set()
    granted = world.brokers.take_identity(
        ref,
        None if terminating else after,
        readable=after is not None or manifest is None or terminating,
    )
    came_or_went = manifest is None or before is None  # a Secret is evidence only with its owner
    if came_or_went or terminating or any(map(_is_waited_for, filter(None, (before, after)))):
        affected |= world.rotating(ref.namespace)
    if after is not None:
        registry.put_identity(after)
        affected |= around_identity(registry, after, stays=stays)
    elif manifest is None or terminating:  # an identity that is being deleted has no edges
        registry.drop_identity(ref)
    else:
        registry.refuse_identity(ref, fault, accepted_claims(manifest))
    if manifest is not None and after is None:
        world.unreadable[key] = Unreadable(manifest, fault)
    if stays:
        affected |= changed_peers(declared, registry.declared(ref))
    else:  # an unreadable identity has no declared peers, but endpoints lead to it or through it
        affected |= {identity_key(other) for other in registry.neighbours(ref)}
    colliding = (each.ref for each in affected if each.kind == "ServiceIdentity")
    unread = (each for each in registry.invalid_identities if each.namespace == ref.namespace)
    shared = world.brokers.around_identities({*colliding, *unread})
    return affected | {key} | held | granted | shared


def _stays(before: ServiceIdentity | None, after: ServiceIdentity | None) -> bool:
    """Return whether an identity goes on to exist with the same ports."""
    return (
        before is not None
        and after is not None
        and not is_terminating(before)
        and before.spec.workload.ports == after.spec.workload.ports
    )


def _is_waited_for(identity: ServiceIdentity) -> bool:
    """Return whether a rotation may wait for the identity to come or go."""
    return identity.spec.on_rotation is not None or is_terminating(identity)


def _hold_closed(
    world: WorldState, ref: Ref, before: ServiceIdentity | None, after: ServiceIdentity
) -> Keys:
    """Keep the edges closed that an identity's status reports as closed by a narrowing.

    After a restart or a change of leader, no write of the document has been tried yet. Nothing
    opens until planning has compared the document with what is declared, so a wrong status can keep
    an edge closed only for that long. If the status no longer reports it, the leader has written
    the document. Return the affected keys.
    """
    reported = reported_narrowing(after)
    reported_before = reported_narrowing(before) if before is not None else Narrowing()
    over = reported_before and not reported
    known = world.registry.unapplied.get(ref, Narrowing()).without(reported_before)
    if not world.registry.note_unapplied(ref, None if over else known.joined(reported)):
        return set()
    return {identity_key(peer) for peer in world.registry.neighbours(ref)}
