"""Quarantine of unreadable objects: what the world takes in instead.

An unreadable object counts neither as deleted nor as unchanged. It exists, and grants nothing:

- A resource of Troth becomes unreadable, like one with an invalid spec. It grants nothing, and
nothing is removed because of it, until it is corrected or deleted.
- Of a DeadLetterReview nothing counts, so nothing is redriven for it.
- Of a Secret, ConfigMap, NetworkPolicy, Service or EndpointSlice only the metadata counts, as if it
were empty. No key, address or port is used, and Troth restores the content that it wrote.
- A Namespace has no labels, so no trust domain governs it.
- A workload does not exist, so it is not restarted. A PodDisruptionBudget protects every pod of its
namespace.
"""

from troth.resources.kinds import KIND_BY_NAME
from troth.resources.references import Ref
from troth.trust.declarations.topics.messaging import Messaging
from troth.world.change import Change
from troth.world.facts.objects import UNREADABLE, Manifest, Unreadable
from troth.world.index.workloads import BUDGET, KINDS
from troth.world.keys import Key
from troth.world.observation.resources import (
    accepted_claims,
    earlier_domain,
    policy_claims,
    readable_parts,
)
from troth.world.state import WorldState

_METADATA = (
    *("name", "namespace", "uid", "resourceVersion", "generation", "labels", "annotations"),
    *("finalizers", "ownerReferences", "creationTimestamp", "deletionTimestamp"),
)


def quarantined(manifest: Manifest, because: str) -> Manifest | None:
    """Return what is taken in for an unreadable object, None if it counts as absent."""
    kind = manifest["kind"]
    metadata = {each: part for each, part in manifest["metadata"].items() if each in _METADATA}
    bare = {"apiVersion": manifest.get("apiVersion"), "kind": kind, "metadata": metadata}
    if kind in KIND_BY_NAME:
        return {**bare, "status": manifest.get("status"), UNREADABLE: because}
    if kind in KINDS:
        return None
    if kind == BUDGET:
        return {**bare, "spec": {"selector": {}}}
    if kind == "Namespace":
        return {**bare, "metadata": {**metadata, "labels": {}}}
    return {**bare, "type": manifest.get("type")}


def withdraw(world: WorldState, change: Change) -> None:
    """Take what a resource declares out of the indexes, whatever else is known of it.

    It stays as unreadable, or is removed if nothing replaces it. Objects of other kinds declare
    nothing.
    """
    kind, ref, instead = change.kind, change.ref, change.manifest
    registry, brokers = world.registry, world.brokers
    because = str(instead[UNREADABLE]) if instead is not None and UNREADABLE in instead else ""
    if kind in KIND_BY_NAME:
        world.unreadable.pop(Key(kind, ref), None)
        if instead is not None:
            world.unreadable[Key(kind, ref)] = Unreadable(instead, because)
    gone = instead is None
    match kind:
        case "TrustDomain":
            _withdraw_domain(world, ref.name, instead, because)
        case "ServiceIdentity":
            _withdraw_identity(world, ref, instead, because)
        case "WebhookEndpoint":
            registry.drop_webhook(ref) if gone else registry.refuse_webhook(ref, because)
        case "MessageBroker":
            brokers.leaving_brokers.pop(ref, None)
            declared = brokers.messaging
            declared.drop_broker(ref) if gone else declared.refuse_broker(ref, because)
        case "TopicPolicy":
            brokers.leaving_policies.pop(ref, None)
            _withdraw_policy(brokers.messaging, ref, instead, because)
        case "DeadLetterReview":
            brokers.messaging.reviews.put(ref, None)
        case "CredentialRotation":
            world.rotations.drop(ref)


def _withdraw_domain(world: WorldState, name: str, instead: Manifest | None, because: str) -> None:
    """Withdraw a TrustDomain. If it exists, its last readable spec stays in force."""
    if instead is None:
        world.registry.drop_domain(name)
        return
    earlier, unread = earlier_domain(instead), readable_parts(instead)
    world.registry.refuse_domain(name, because, earlier=earlier, unread=unread)


def _withdraw_policy(declared: Messaging, ref: Ref, instead: Manifest | None, because: str) -> None:
    """Withdraw a TopicPolicy. If it exists, it keeps its accepted claims."""
    if instead is None:
        declared.drop_policy(ref)
    else:
        declared.refuse_policy(ref, because, policy_claims(instead))


def _withdraw_identity(world: WorldState, ref: Ref, instead: Manifest | None, because: str) -> None:
    """Withdraw a ServiceIdentity. If it exists, it keeps its accepted claims."""
    if instead is None:
        world.registry.drop_identity(ref)
    else:
        world.registry.refuse_identity(ref, because, accepted_claims(instead))
