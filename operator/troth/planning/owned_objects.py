"""Owned objects: their names, labels and owner references, conflicts and drift."""

from datetime import datetime, timedelta
from typing import Any

from troth.resources.identity.spec import ServiceIdentity
from troth.resources.messaging.message_broker import MessageBroker
from troth.resources.metadata import API_VERSION, Resource
from troth.resources.references import Ref
from troth.resources.webhooks.endpoint import WebhookEndpoint
from troth.trust.declarations.trust_records import record_name
from troth.world.facts.objects import (
    BROKER_POLICY_SUFFIX,
    DENY_SUFFIX,
    LIVE_PEERS,
    MANAGED_BY,
    OWNER_KIND,
    OWNER_NAME,
    POLICY_SUFFIX,
    SCHEMAS_SUFFIX,
    SECRET_SUFFIX,
    Content,
    Fact,
    Fault,
    Manifest,
)
from troth.world.facts.owned import OwnedObject

_NAMESPACED = (ServiceIdentity, MessageBroker, WebhookEndpoint)
FOREIGN_RETRY = timedelta(minutes=1)
"""Wait before the next check after an object not managed by Troth was found at a needed name."""


def secret_ref(identity: Ref) -> Ref:
    """Return the reference of an identity's Secret."""
    return Ref(identity.namespace, identity.name + SECRET_SUFFIX)


def broker_policy_ref(broker: Ref) -> Ref:
    """Return the reference of a broker's NetworkPolicy."""
    return Ref(broker.namespace, broker.name + BROKER_POLICY_SUFFIX)


def policy_ref(owner: Ref) -> Ref:
    """Return the reference of an identity's NetworkPolicy."""
    return Ref(owner.namespace, owner.name + POLICY_SUFFIX)


def deny_ref(identity: Ref) -> Ref:
    """Return the reference of the NetworkPolicy that denies an identity's newly selected pods."""
    return Ref(identity.namespace, identity.name + DENY_SUFFIX)


def trust_record_ref(own_namespace: str, identity: Ref) -> Ref:
    """Return the reference of the ConfigMap that records an identity's gateway-only trust."""
    return Ref(own_namespace, record_name(identity))


def schemas_ref(identity: Ref) -> Ref:
    """Return the reference of the ConfigMap with the schemas that do not fit into an identity's
    Secret.
    """
    return Ref(identity.namespace, identity.name + SCHEMAS_SUFFIX)


def policy_manifest(ref: Ref, owner: Resource, spec: Manifest, live_peers: str = "{}") -> Manifest:
    """Return a NetworkPolicy annotated with the live peers that its spec was compiled with.

    The annotation is written even if the list is empty. Otherwise Troth would not own it and could
    not remove a list that somebody adds by hand.
    """
    metadata = {**metadata_of(ref, owner), "annotations": {LIVE_PEERS: live_peers}}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata,
        "spec": spec,
    }


def metadata_of(ref: Ref, owner: Resource) -> Manifest:
    """Return an owned object's metadata: labels, and an owner reference if it is in the owner's
    namespace.

    With the owner reference the garbage collector deletes the object together with its owner.
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
    """Return whether an object belongs to this owner and not to an earlier one of the same name.

    The owner reference decides if the object can have one, so Troth can restore a label changed by
    hand. Otherwise the labels decide.
    """
    if _beside(fact.ref, owner):
        return owner.metadata.uid in fact.owner_uids
    return (fact.labels.get(OWNER_KIND), fact.labels.get(OWNER_NAME)) == (
        owner.kind,
        owner.metadata.name,
    )


def _beside(ref: Ref, owner: Resource) -> bool:
    """Return whether an object is in its owner's namespace and can have an owner reference."""
    return isinstance(owner, _NAMESPACED) and owner.ref.namespace == ref.namespace


def rechecks(owned: OwnedObject[Any]) -> tuple[datetime, ...]:
    """Return when to check again whether a foreign object still has the name of an owned one.

    There is no such time if none was seen there.
    """
    return (owned.seen + FOREIGN_RETRY,) if owned.seen is not None else ()


def taken(owned: OwnedObject[Any], owner: Resource, now: datetime) -> Fault | None:
    """Return the conflict that prevents writing an owned object, None if there is none."""
    theirs = owned.fact is not None and not is_child(owned.fact, owner)
    return conflict(owned, owner, now, owned_by_another=theirs)


def conflict(
    owned: OwnedObject[Any], owner: Resource, now: datetime, *, owned_by_another: bool
) -> Fault | None:
    """Return the conflict over the name of an object that `owner` needs, None if there is none.

    `owned_by_another` is whether Troth wrote the object for another owner.
    """
    if owned_by_another:
        message = (
            f"{owned.kind} {owned.ref} has another owner, or lost its owner in a restore, so Troth "
            "does not change it; run `troth restore` after a restore, or delete it"
        )
        return Fault("Conflict", message)
    if owned.seen is not None and now < owned.seen + FOREIGN_RETRY:
        message = (
            f"{owned.kind} {owned.ref} is not managed by Troth, so it was not changed; rename or "
            f"delete it, or rename this {owner.kind}"
        )
        return Fault("Conflict", message)
    return None


def differs(manifest: Manifest, fact: Content) -> bool:
    """Return whether an object differs from its manifest in a field that Troth owns."""
    labels = manifest["metadata"]["labels"]
    if not labels.items() <= fact.labels.items():
        return True
    if "spec" in manifest:  # compare exactly: an extra rule is an extra grant
        annotations = manifest["metadata"].get("annotations", {})
        return not fact.says(manifest["spec"]) or fact.live_peers != annotations.get(LIVE_PEERS, "")
    # server-side apply leaves other keys of a ConfigMap to their owners
    return not manifest["data"].items() <= fact.data.items()
