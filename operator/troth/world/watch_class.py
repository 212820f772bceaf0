"""Watch classes: label-selected subsets of a kind that are cached separately."""

from troth.documents.gateway_report import LABEL as REPORT
from troth.resources.references import Ref
from troth.world.facts.objects import MANAGED_BY, Manifest
from troth.world.observation.webhook_secrets import GIVEN_LABEL, is_given

SCHEMA = "troth.dev/schema"
"""Label that, with any value, marks a ConfigMap with schemas; others are not read."""
SCHEMAS = "ConfigMap of schemas"
REPORTS = "ConfigMap of a gateway"
GIVEN = "Secret with the keys of a sender"
"""Watch classes besides the ConfigMaps and Secrets that Troth writes.

Each has its own list and watch. An object that moves from one class to another is removed from the
first."""
_BESIDE = {"ConfigMap": ("ConfigMap", SCHEMAS, REPORTS), "Secret": ("Secret", GIVEN)}


def watch_class_of(manifest: Manifest, own_namespace: str = "") -> str:
    """Return the watch class of an object.

    Every Secret of Troth's own namespace is watched, so none there is in the class `GIVEN`.
    """
    kind: str = manifest["kind"]
    labels = manifest["metadata"].get("labels") or {}
    if kind == "ConfigMap" and labels.get(MANAGED_BY) != "troth":
        return REPORTS if REPORT in labels and SCHEMA not in labels else SCHEMAS
    if kind == "Secret" and is_given(manifest) and Ref.of(manifest).namespace != own_namespace:
        return GIVEN
    return kind


def other_watch_classes(manifest: Manifest, known: str) -> tuple[str, ...]:
    """Return the other watch classes in which an object may have been."""
    return tuple(each for each in _BESIDE.get(manifest["kind"], ()) if each != known)


def selectors() -> dict[str, str]:
    """Return the label selector of each separate watch class."""
    foreign = f"{MANAGED_BY}!=troth"
    return {
        SCHEMAS: f"{SCHEMA},{foreign}",
        REPORTS: f"{REPORT},!{SCHEMA},{foreign}",
        GIVEN: f"{GIVEN_LABEL},{foreign}",
    }
