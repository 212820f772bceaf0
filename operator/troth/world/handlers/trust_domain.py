"""Handler of TrustDomains."""

from typing import Any

from troth.resources.metadata import is_terminating
from troth.resources.schema.bounded_json import read_json
from troth.resources.selectors import LabelSelector
from troth.resources.trust_domain.spec import TrustDomain
from troth.resources.trust_domain.status import SPEC_LIMIT
from troth.world.change import Change
from troth.world.facts.objects import UNREADABLE, Manifest
from troth.world.invalidation import around_domain
from troth.world.keys import Keys, domain_key, identity_key, view_key
from troth.world.observation.confinement import note_confinement
from troth.world.observation.resources import parsed
from troth.world.state import WorldState


def take_domain(world: WorldState, change: Change) -> Keys:
    """Take in the current state of a TrustDomain; return the affected keys.

    While its spec is unreadable, the last readable one stays in force, which its status has.
    """
    key, registry = domain_key(change.ref.name), world.registry
    before = registry.domains.get(change.ref.name)
    affected = around_domain(world.registry, before) if before else set()
    after, fault = parsed(change.manifest, TrustDomain)
    was_unread = key in world.unreadable and before is None
    world.note_unreadable(key, change.manifest, fault)
    if after is not None:
        registry.put_domain(after)
    elif change.manifest is None:
        registry.drop_domain(change.ref.name)
    else:
        after = _earlier(change.manifest)
        selector = _selector(change.manifest)
        registry.refuse_domain(change.ref.name, fault, earlier=after, selector=selector)
    if before is not None and after is not None and _declares_the_same(before, after):
        return {key}
    affected |= note_confinement(world)
    affected |= world.brokers.everything()
    if after is None or was_unread:  # it is unknown which namespaces it would govern
        affected |= {identity_key(identity) for identity in registry.claimants}
        affected |= {domain_key(name) for name in registry.domains}
    else:
        affected |= around_domain(world.registry, after)
    return affected | {key, view_key(change.ref.name)}


def _earlier(manifest: Manifest) -> TrustDomain | None:
    """Return an unreadable TrustDomain with its last readable spec, None if that is unknown."""
    status = manifest.get("status")
    text = status.get("readableSpec") if isinstance(status, dict) else None
    try:
        spec = read_json(text, SPEC_LIMIT) if isinstance(text, str) else None
        return TrustDomain.parse({**_readable(manifest), "spec": spec})
    except ValueError:  # and with it pydantic's ValidationError
        return None


def _readable(manifest: Manifest) -> Manifest:
    return {name: part for name, part in manifest.items() if name != UNREADABLE}


def _selector(manifest: Manifest) -> LabelSelector | None:
    """Return the namespaceSelector of an unreadable TrustDomain, None if it is unreadable too."""
    spec: Any = manifest.get("spec")
    try:
        return LabelSelector.model_validate(spec["namespaceSelector"])
    except (TypeError, KeyError, ValueError):
        return None


def _declares_the_same(before: TrustDomain, after: TrustDomain) -> bool:
    """Return whether two versions of a trust domain differ only in status and metadata."""
    return before.spec == after.spec and is_terminating(before) == is_terminating(after)
