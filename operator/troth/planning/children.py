"""What Troth's children look like from outside: names, labels, owners."""

from datetime import timedelta

from troth.resources.metadata import API_VERSION, Resource
from troth.resources.references import Ref
from troth.resources.service_identity import ServiceIdentity
from troth.world.facts import (
    MANAGED_BY,
    OWNER_KIND,
    OWNER_NAME,
    POLICY_SUFFIX,
    SECRET_SUFFIX,
    Content,
    Fact,
    Manifest,
)

FOREIGN_RETRY = timedelta(minutes=1)
"""How long an object of a wanted name that is not Troth's is left alone before another look."""


def secret_ref(identity: Ref) -> Ref:
    """Return where an identity's Secret is."""
    return Ref(identity.namespace, identity.name + SECRET_SUFFIX)


def policy_ref(identity: Ref) -> Ref:
    """Return where an identity's NetworkPolicy is."""
    return Ref(identity.namespace, identity.name + POLICY_SUFFIX)


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
    if isinstance(owner, ServiceIdentity):
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
    if isinstance(owner, ServiceIdentity):
        return owner.metadata.uid in fact.owner_uids
    return (fact.labels.get(OWNER_KIND), fact.labels.get(OWNER_NAME)) == (
        owner.kind,
        owner.metadata.name,
    )


def differs(manifest: Manifest, fact: Content) -> bool:
    """Say whether an object is not what it should be, in what Troth owns of it."""
    labels = manifest["metadata"]["labels"]
    if any(fact.labels.get(key) != value for key, value in labels.items()):
        return True
    if "spec" in manifest:  # a rule more would be a grant more
        return not fact.says(manifest["spec"])
    # other keys of a ConfigMap are whoever's wrote them, and a server-side apply leaves them
    return not manifest["data"].items() <= fact.content.items()
