"""What the models have against a manifest."""

from tests.builders import Manifest
from troth.resources.manifests import FaultyManifests, ManifestFault, parse_resource


def faults(manifest: Manifest) -> list[ManifestFault]:
    """Every fault; none where the manifest is taken."""
    try:
        parse_resource(manifest)
    except FaultyManifests as refusal:
        return refusal.faults
    return []
