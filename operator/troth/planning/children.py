"""What Troth's children look like from outside: names, labels, owners."""

from datetime import timedelta

from troth.resources.metadata import API_VERSION, Resource
from troth.resources.references import Ref
from troth.resources.service_identity import ServiceIdentity
from troth.world.facts import MANAGED_BY, OWNER_KIND, OWNER_NAME, Content, Fact, Manifest

FOREIGN_RETRY = timedelta(minutes=1)
"""How long an object of a wanted name that is not Troth's is left alone before another look."""


def secret_ref(identity: Ref) -> Ref:
    """Return where an identity's Secret is."""
    return Ref(identity.namespace, f"{identity.name}-identity")


def policy_ref(identity: Ref) -> Ref:
    """Return where an identity's NetworkPolicy is."""
    return Ref(identity.namespace, f"{identity.name}-troth")


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
    """Say whether an object is this owner's, and not one of a predecessor of the same name."""
    labelled = (fact.labels.get(OWNER_KIND), fact.labels.get(OWNER_NAME)) == (
        owner.kind,
        owner.metadata.name,
    )
    return labelled and (
        owner.metadata.uid in fact.owner_uids if isinstance(owner, ServiceIdentity) else True
    )


def differs(manifest: Manifest, fact: Content) -> bool:
    """Say whether an object is not what it should be, in what Troth owns of it."""
    content = manifest.get("spec", manifest.get("data"))
    labels = manifest["metadata"]["labels"]
    return fact.content != content or any(
        fact.labels.get(key) != value for key, value in labels.items()
    )
