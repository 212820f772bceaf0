"""By which kinds the world knows objects: some of a kind are selected, and gone, by themselves."""

from troth.documents.gateway_report import LABEL as REPORT
from troth.resources.references import Ref
from troth.world.facts.objects import MANAGED_BY, Manifest
from troth.world.observation.webhook_secrets import GIVEN_LABEL, is_given

SCHEMA = "troth.dev/schema"
"""With any value it says that a ConfigMap has schemas; others are never read."""
SCHEMAS = "ConfigMap of schemas"
REPORTS = "ConfigMap of a gateway"
GIVEN = "Secret with the keys of a sender"
"""What the world knows them as, beside the ConfigMaps and Secrets that Troth writes: each is
selected, and seen to be gone, for itself, and one that becomes the other is forgotten as what it
was.
"""
_BESIDE = {"ConfigMap": ("ConfigMap", SCHEMAS, REPORTS), "Secret": ("Secret", GIVEN)}


def watch_class_of(manifest: Manifest, own_namespace: str = "") -> str:
    """Return the kind by which the world knows an object.

    Of Troth's own namespace every Secret is read, so that there none is known as given.
    """
    kind: str = manifest["kind"]
    labels = manifest["metadata"].get("labels") or {}
    if kind == "ConfigMap" and labels.get(MANAGED_BY) != "troth":
        return REPORTS if REPORT in labels and SCHEMA not in labels else SCHEMAS
    if kind == "Secret" and is_given(manifest) and Ref.of(manifest).namespace != own_namespace:
        return GIVEN
    return kind


def others_beside(manifest: Manifest, known: str) -> tuple[str, ...]:
    """Return what else an object may have been known as."""
    return tuple(each for each in _BESIDE.get(manifest["kind"], ()) if each != known)


def selectors() -> dict[str, str]:
    """Return the label selectors of what is selected by itself, by what it is known as."""
    foreign = f"{MANAGED_BY}!=troth"
    return {
        SCHEMAS: f"{SCHEMA},{foreign}",
        REPORTS: f"{REPORT},!{SCHEMA},{foreign}",
        GIVEN: f"{GIVEN_LABEL},{foreign}",
    }
