"""Objects that Troth cannot read: what is taken in in their place.

An unreadable object is neither deleted nor as it was. It counts as present, and as one that grants
nothing:

- a resource of Troth's own is unreadable, as one with an invalid spec is: nothing is granted by it,
  and nothing is removed for it, until it is mended or deleted;
- of a Secret, a ConfigMap, a NetworkPolicy, a Service or an EndpointSlice only the metadata counts,
  as though it were empty: no key, no address and no port is taken from it, and what Troth wrote
  there counts as changed and is restored;
- a Namespace has no labels, so that no trust domain governs it;
- a workload is not there, so that it is not restarted; a PodDisruptionBudget protects every pod of
  its namespace.
"""

from troth.resources.kinds import KIND_BY_NAME
from troth.world.change import Change
from troth.world.facts.objects import UNREADABLE, Manifest, Unreadable
from troth.world.index.workloads import BUDGET, KINDS
from troth.world.keys import Key
from troth.world.state import WorldState

_METADATA = (
    *("name", "namespace", "uid", "resourceVersion", "generation", "labels", "annotations"),
    *("finalizers", "ownerReferences", "creationTimestamp", "deletionTimestamp"),
)


def quarantined(manifest: Manifest, because: str) -> Manifest | None:
    """Return what is taken in for an object that cannot be read, None for what counts as absent."""
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

    It stays as unreadable, or is forgotten where there is nothing in its place. Objects of other
    kinds declare nothing.
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
            registry.drop_domain(ref.name) if gone else registry.refuse_domain(ref.name, because)
        case "ServiceIdentity":
            registry.drop_identity(ref) if gone else registry.refuse_identity(ref, because)
        case "WebhookEndpoint":
            registry.drop_webhook(ref) if gone else registry.refuse_webhook(ref, because)
        case "MessageBroker":
            brokers.leaving_brokers.pop(ref, None)
            declared = brokers.messaging
            declared.drop_broker(ref) if gone else declared.refuse_broker(ref, because)
        case "TopicPolicy":
            brokers.leaving_policies.pop(ref, None)
            declared = brokers.messaging
            declared.drop_policy(ref) if gone else declared.refuse_policy(ref, because)
        case "CredentialRotation":
            world.rotations.drop(ref)
