"""Handlers of Secrets."""

from collections.abc import Mapping

from troth.pki.certificates.leaf import Leaf
from troth.world.change import Change
from troth.world.facts.objects import Cutoff, IdentitySecret
from troth.world.handlers.confinement import note_confinement
from troth.world.handlers.written import take_written
from troth.world.index.webhook_signing import is_signing
from troth.world.invalidation import around_domain, federating
from troth.world.keys import Keys, domain_key, identity_key, view_key
from troth.world.observation import objects as observe
from troth.world.observation.broker_secrets import is_credential
from troth.world.observation.secret_data import SecretData
from troth.world.observation.webhook_secrets import is_compiled, is_generated
from troth.world.owners import wanting_credential
from troth.world.state import WorldState


def take_secret(world: WorldState, change: Change) -> Keys:
    """Take in a Secret that Troth wrote or that is in its namespace; return the affected keys."""
    ref, manifest = change.ref, change.manifest
    credential = manifest if manifest and is_credential(manifest) else None
    affected = world.brokers.take_secret(ref, credential, change.uptime)
    affected |= wanting_credential(ref, world.registry, world.brokers.messaging)
    affected |= world.signing.take(ref, manifest, change.uptime, world.registry)
    affected |= world.webhooks.take_secret(ref, manifest, change.uptime)
    others = (is_credential, is_signing, is_generated, is_compiled)
    identitys = manifest if manifest and not any(is_it(manifest) for is_it in others) else None
    data = SecretData(manifest) if manifest else None
    after = observe.identity_secret(identitys, data) if identitys else None
    before = world.secrets.get(ref)
    affected |= world.rotating(ref.namespace)  # and again below: each leaf may end or begin a wait
    affected |= take_written(world, world.secrets, ref, after, change.uptime)
    if after is None:
        world.signatures.forget(ref)
    world.signers.take(ref.namespace, _leaf(before), _leaf(after))
    affected |= world.rotating(ref.namespace)
    affected |= world.webhooks.around_deliveries(ref, before, world.secrets.get(ref))
    if ref.namespace != world.own_namespace:
        return affected
    authority = observe.authority_secret(manifest, data) if manifest and data else None
    world.authorities.take(ref.name, authority, change.uptime)
    cut_before = world.tokens.cutoffs(ref.name)
    keys_changed = world.tokens.take(ref.name, manifest, change.uptime)
    affected |= _cut_differently(world, cut_before, world.tokens.cutoffs(ref.name))
    for name, domain in world.registry.domains.items():
        if world.authorities.concern(domain, ref):
            affected |= around_domain(world.registry, domain) | {domain_key(name)}
            affected |= note_confinement(world)
        if ref in (world.tokens.ref(domain), world.tokens.leaf_ref(domain)):
            affected |= {domain_key(name), view_key(name)}
            if keys_changed:
                affected |= federating(world.registry, domain)
    return affected


def take_given(world: WorldState, change: Change) -> Keys:
    """Take in a Secret that a person labelled for Troth; return the affected keys."""
    return world.webhooks.take_given(change.ref, change.manifest, change.uptime)


def _cut_differently(
    world: WorldState, before: Mapping[str, Cutoff], after: Mapping[str, Cutoff]
) -> Keys:
    """Return the identities of the namespaces that a view has other room for than before."""
    changed = {name for name in {*before, *after} if before.get(name) != after.get(name)}
    return {identity_key(ref) for name in changed for ref in world.registry.identities_in(name)}


def _leaf(secret: IdentitySecret | None) -> Leaf | None:
    return secret.leaf if secret is not None else None
