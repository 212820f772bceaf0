"""What a backup has of each object, so that it can be restored on another cluster.

UIDs and versions belong to one cluster. An owner reference with the UID of a deleted owner makes
the garbage collector delete the object
(https://kubernetes.io/docs/concepts/architecture/garbage-collection/#owners-dependents), so a
backup names owners without their UIDs.
"""

from collections.abc import Iterable
from typing import Any

from troth.cluster.resources import RESOURCES
from troth.resources.kinds import EVERY_KIND
from troth.resources.metadata import API_VERSION, GROUP
from troth.resources.references import Ref
from troth.world.facts.objects import MANAGED_BY

Manifest = dict[str, Any]
Place = tuple[str, Ref]
"""Kind and reference of an object."""

UNPROVEN = frozenset({"DeadLetterReview"})
"""Kinds that no backup has. The names in a review are proven where their users wrote them, and the
broker keeps what was decided."""
DECLARED = tuple(kind.name for kind in EVERY_KIND if kind.name not in UNPROVEN)
OWNED = ("Secret", "NetworkPolicy", "ConfigMap")
"""Kinds of owned objects, in the order in which a backup reads them.

Troth writes a ledger before what it records, so a ledger that is read after the Secrets names every
credential among them.
"""
OWNED_BY_TROTH = f"{MANAGED_BY}=troth"
_TYPES = frozenset({"", "Opaque", "kubernetes.io/tls"})
"""Types of Troth's Secrets besides `troth.dev/...`. Others can give rights in a cluster."""
_CONTENT = ("type", "immutable", "data", "binaryData", "spec")
_METADATA = ("name", "namespace", "labels", "annotations", "creationTimestamp")
_NEVER_OBSERVED = -1


def place_of(manifest: Manifest) -> Place:
    """Return the kind and the reference of an object."""
    return manifest["kind"], Ref.of(manifest)


def is_restorable(manifest: Manifest) -> bool:
    """Return whether an object is one that a backup has."""
    kind = manifest["kind"]
    if kind in OWNED:
        version, type_ = RESOURCES[kind].group_version, str(manifest.get("type") or "")
        return (
            (manifest["metadata"].get("labels") or {}).get(MANAGED_BY) == "troth"
            and manifest.get("apiVersion", version) == version
            and (kind != "Secret" or type_ in _TYPES or type_.startswith(f"{GROUP}/"))
        )
    return kind == "Namespace" or (
        kind in DECLARED and manifest.get("apiVersion", API_VERSION) == API_VERSION
    )


def portable(manifest: Manifest) -> Manifest:
    """Return an object without what belongs to one cluster.

    A resource keeps its field managers, so that each client still removes the fields that it no
    longer applies. Its status keeps what Troth remembers there, and says that Troth has not
    observed the resource yet.
    """
    kind, metadata = manifest["kind"], manifest["metadata"]
    kept = {name: metadata[name] for name in _METADATA if metadata.get(name)}
    if kind in OWNED:
        owners = [
            {name: value for name, value in owner.items() if name != "uid"}
            for owner in metadata.get("ownerReferences") or []
        ]
        kept |= {"ownerReferences": owners} if owners else {}
    elif kind != "Namespace" and metadata.get("managedFields"):
        kept["managedFields"] = metadata["managedFields"]
    found: Manifest = {
        "apiVersion": RESOURCES[kind].group_version,
        "kind": kind,
        "metadata": kept,
    }
    if kind == "Namespace":
        return found
    found |= {name: manifest[name] for name in _CONTENT if name in manifest}
    status = manifest.get("status") or {}
    if kind not in OWNED and status.get("conditions"):
        conditions = [{**each, "observedGeneration": 0} for each in status["conditions"]]
        found["status"] = status | {
            "observedGeneration": _NEVER_OBSERVED,
            "conditions": conditions,
        }
    return found


def is_unobserved(resource: Manifest) -> bool:
    """Return whether no operator has observed a resource of this cluster yet."""
    status = resource.get("status") or {}
    return bool(status.get("observedGeneration", _NEVER_OBSERVED) == _NEVER_OBSERVED)


def content(manifest: Manifest) -> Manifest:
    """Return the part of an object that must be the same in a backup and in a cluster."""
    return {name: manifest[name] for name in _CONTENT if manifest.get(name)}


def namespaces_of(manifests: Iterable[Manifest]) -> set[str]:
    """Return the namespaces in which these objects are."""
    return {each["metadata"]["namespace"] for each in manifests if Ref.of(each).namespace}


def in_order(manifests: Iterable[Manifest]) -> list[Manifest]:
    """Return objects in the order in which they can be restored.

    Roots, token keys and ledgers come before the resources, so that an operator that starts in
    between creates no others. Owned objects that name an owner come after it. Resources keep the
    order of their creation, because the older of two claims stands.
    """
    kinds = ("Namespace", *DECLARED, *OWNED)

    def rank(manifest: Manifest) -> tuple[int, int, str]:
        kind, metadata = manifest["kind"], manifest["metadata"]
        if kind in OWNED:
            group = 3 if metadata.get("ownerReferences") else 1
        else:
            group = 0 if kind == "Namespace" else 2
        return group, kinds.index(kind), str(metadata.get("creationTimestamp", ""))

    return sorted(manifests, key=rank)
