"""What a scene keeps of an object."""

from typing import Any, cast

from pydantic_core import from_json, to_json

from troth.audit.facts.ingress.identity_headers import headers_in
from troth.resources.kinds import KIND_BY_NAME

Manifest = dict[str, Any]

PACKED = frozenset({*KIND_BY_NAME, "NetworkPolicy"})
"""Kinds whose objects are large, and read seldom or by way of the world, so they are kept as JSON,
which takes a tenth of the memory."""

_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
"""Annotation with a whole earlier manifest. In a Secret it has the Secret's content."""
_WRITTEN_BY_AUDITOR = frozenset({"findings", "traffic"})
"""Members of statuses that no rule reads, because they come from an evaluation."""


def packed(found: Manifest) -> Manifest | bytes:
    """Return the form in which an object is kept."""
    if found["kind"] not in PACKED:
        return found
    try:
        return to_json(found)
    except ValueError:  # it nests too deeply, as only one of a file can
        return found


def unpacked(found: Manifest | bytes) -> Manifest:
    """Return an object as it was before `packed`."""
    return cast("Manifest", from_json(found)) if isinstance(found, bytes) else found


def read_of(found: Manifest) -> Manifest:
    """Return the part of an object that rules read."""
    metadata = {key: each for key, each in found["metadata"].items() if key != "resourceVersion"}
    read = {**found, "metadata": metadata}
    status = read.pop("status", None)
    if isinstance(status, dict):
        status = {key: each for key, each in status.items() if key not in _WRITTEN_BY_AUDITOR}
    return {**read, "status": status} if status else read


def without_status(found: Manifest) -> Manifest:
    """Return the part of an object that rules read, without its status."""
    return {key: each for key, each in read_of(found).items() if key != "status"}


def kept(manifest: Manifest) -> Manifest:
    """Return what the scene keeps of an object: nothing secret, and no content of configuration."""
    metadata = {key: value for key, value in manifest["metadata"].items() if key != "managedFields"}
    for name in ("annotations", "labels"):
        if not isinstance(metadata.get(name, {}), dict):  # in files, which nobody has validated
            del metadata[name]
    if "annotations" in metadata:
        metadata["annotations"] = {
            key: value for key, value in metadata["annotations"].items() if key != _LAST_APPLIED
        }
    found = {**manifest, "metadata": metadata}
    match manifest["kind"]:
        case "Secret":
            names = sorted(
                {*(found.pop("data", None) or {}), *(found.pop("stringData", None) or {})}
            )
            return {**found, "data": dict.fromkeys(names, "")}
        case "ConfigMap":
            texts = found.pop("data", None) or {}
            found.pop("binaryData", None)
            headers = {
                key: list(headers_in(text)) for key, text in texts.items() if isinstance(text, str)
            }
            return {**found, "data": dict.fromkeys(texts, ""), "headers": headers}
    return found
