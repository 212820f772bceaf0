"""The objects of a scene that planning reads."""

from typing import Any

from troth.resources.kinds import KIND_BY_NAME
from troth.resources.references import Ref
from troth.trust.declarations.trust_records import recorded_by
from troth.trust.declarations.watched import Watched
from troth.world.facts.objects import MANAGED_BY

Manifest = dict[str, Any]

_KINDS = frozenset({*KIND_BY_NAME, "Namespace", "Service"})
_API_SERVER = "kubernetes"
"""Service of the API server, in the namespace `default`."""


def is_in_world(manifest: Manifest, own_namespace: str, watched: Watched) -> bool:
    """Return whether an operator that watches these namespaces plans with an object."""
    ref = Ref.of(manifest)
    if manifest["kind"] == "EndpointSlice":
        labels = manifest["metadata"].get("labels") or {}
        place = ref.namespace, labels.get("kubernetes.io/service-name")
        return place == ("default", _API_SERVER)
    planned = manifest["kind"] in _KINDS or _is_trust_record(manifest, own_namespace)
    return planned and watched.reads(ref.namespace)


def _is_trust_record(manifest: Manifest, own_namespace: str) -> bool:
    """Return whether an object is Troth's record of when gateway-only trust was first accepted.

    Planning reads it, and it has nothing but a time.
    """
    return (
        manifest["kind"] == "ConfigMap"
        and recorded_by(Ref.of(manifest), own_namespace) is not None
        and (manifest["metadata"].get("labels") or {}).get(MANAGED_BY) == "troth"
    )
