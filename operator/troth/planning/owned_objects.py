"""What Troth's children look like from outside: names, labels, owners."""

from datetime import datetime, timedelta

from troth.resources.identity.spec import ServiceIdentity
from troth.resources.messaging.message_broker import MessageBroker
from troth.resources.metadata import API_VERSION, Resource
from troth.resources.references import Ref
from troth.resources.webhooks.endpoint import WebhookEndpoint
from troth.world.facts.objects import (
    BROKER_POLICY_SUFFIX,
    DENY_SUFFIX,
    LIVE_PEERS,
    MANAGED_BY,
    OWNER_KIND,
    OWNER_NAME,
    POLICY_SUFFIX,
    SECRET_SUFFIX,
    Content,
    Fact,
    Fault,
    Manifest,
)

FOREIGN_RETRY = timedelta(minutes=1)
"""How long an object of a wanted name that is not Troth's is left alone before another look."""


def secret_ref(identity: Ref) -> Ref:
    """Return where an identity's Secret is."""
    return Ref(identity.namespace, identity.name + SECRET_SUFFIX)


def broker_policy_ref(broker: Ref) -> Ref:
    """Return where a broker's NetworkPolicy is."""
    return Ref(broker.namespace, broker.name + BROKER_POLICY_SUFFIX)


def policy_ref(owner: Ref) -> Ref:
    """Return where an identity's NetworkPolicy is, or that of a broker."""
    return Ref(owner.namespace, owner.name + POLICY_SUFFIX)


def deny_ref(identity: Ref) -> Ref:
    """Return where the NetworkPolicy is that denies an identity's newly selected pods."""
    return Ref(identity.namespace, identity.name + DENY_SUFFIX)


def policy_manifest(ref: Ref, owner: Resource, spec: Manifest, live_peers: str = "{}") -> Manifest:
    """Return a NetworkPolicy with the list of live peers that its spec was compiled with.

    Even an empty list is written, or one added by hand would not be Troth's to remove.
    """
    metadata = {**metadata_of(ref, owner), "annotations": {LIVE_PEERS: live_peers}}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata,
        "spec": spec,
    }


def metadata_of(ref: Ref, owner: Resource) -> Manifest:
    """Return a child's metadata: labels always, an owner reference where owner and child share a
    namespace, so that the garbage collector takes the child with its owner.
    """
    metadata: Manifest = {
        "name": ref.name,
        "namespace": ref.namespace,
        "labels": {
            MANAGED_BY: "troth",
            OWNER_KIND: owner.kind,
            OWNER_NAME: owner.metadata.name,
        },
    }
    if _beside(ref, owner):
        metadata["ownerReferences"] = [
            {
                "apiVersion": API_VERSION,
                "kind": owner.kind,
                "name": owner.metadata.name,
                "uid": owner.metadata.uid,
                "controller": True,
            }
        ]
    return metadata


def is_child(fact: Fact, owner: Resource) -> bool:
    """Say whether an object is this owner's, and not one of a predecessor of the same name.

    An owner reference decides where there can be one; a label changed by hand is then put right.
    """
    if _beside(fact.ref, owner):
        return owner.metadata.uid in fact.owner_uids
    return (fact.labels.get(OWNER_KIND), fact.labels.get(OWNER_NAME)) == (
        owner.kind,
        owner.metadata.name,
    )


def _beside(ref: Ref, owner: Resource) -> bool:
    """Say whether a child is in its owner's namespace, so that there can be an owner reference."""
    if isinstance(owner, ServiceIdentity | MessageBroker | WebhookEndpoint):
        return owner.ref.namespace == ref.namespace
    return False


def taken(
    kind: str, ref: Ref, fact: Fact | None, owner: Resource, *, seen: datetime | None, now: datetime
) -> Fault | None:
    """Return why a child cannot be written where it belongs: something else is there.

    `fact` is what of Troth's stands there, and `seen` when something foreign was last found.
    """
    if fact is not None and not is_child(fact, owner):
        message = f"{kind} {ref} has another owner, so Troth does not change it until it is deleted"
        return Fault("Conflict", message)
    if seen is not None and now < seen + FOREIGN_RETRY:
        message = (
            f"{kind} {ref} is not managed by Troth, so it was not changed; rename or delete it, "
            f"or rename this {owner.kind}"
        )
        return Fault("Conflict", message)
    return None


def differs(manifest: Manifest, fact: Content) -> bool:
    """Say whether an object is not what it should be, in what Troth owns of it."""
    labels = manifest["metadata"]["labels"]
    if any(fact.labels.get(key) != value for key, value in labels.items()):
        return True
    if "spec" in manifest:  # a rule more would be a grant more
        annotations = manifest["metadata"].get("annotations", {})
        return not fact.says(manifest["spec"]) or fact.live_peers != annotations.get(LIVE_PEERS, "")
    # other keys of a ConfigMap are whoever's wrote them, and a server-side apply leaves them
    return not manifest["data"].items() <= fact.content.items()
