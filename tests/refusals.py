"""Validation errors of a manifest."""

from tests.builders import Manifest
from troth.resources.faults import FaultyManifests, ManifestFault
from troth.resources.manifests import parse_resource


def faults(manifest: Manifest) -> list[ManifestFault]:
    """Return every fault; none if the manifest is valid."""
    try:
        parse_resource(manifest)
    except FaultyManifests as refusal:
        return refusal.faults
    return []
