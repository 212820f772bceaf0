"""Reads a sender's signature scheme from a WebhookEndpoint."""

from collections.abc import Sequence
from pathlib import Path

from troth.cli.inputs import sources
from troth.documents.webhook_endpoint import Signing
from troth.planning.webhooks.document import signing_of
from troth.resources.faults import FaultyManifests, ManifestFault
from troth.resources.manifests import parse_resource
from troth.resources.webhooks.endpoint import WebhookEndpoint


def read_endpoint(files: Sequence[Path]) -> tuple[Signing, float]:
    """Return the signature scheme and the tolerance in seconds of the only endpoint in manifests.

    Raises `FaultyManifests`, also if there is none or more than one.
    """
    place = ", ".join(map(str, files))
    parsed = (
        parse_resource(each)
        for each in sources.read(files).objects
        if each["kind"] == WebhookEndpoint.__name__
    )
    endpoints = [each for each in parsed if isinstance(each, WebhookEndpoint)]
    if len(endpoints) != 1:
        sentence = f"has {len(endpoints)} WebhookEndpoints; name a file with exactly one"
        raise FaultyManifests([ManifestFault(place, "", "", sentence)])
    (endpoint,) = endpoints
    inbound = endpoint.spec.inbound
    if inbound is None or inbound.scheme is None:
        sentence = "this endpoint is outbound and verifies no deliveries"
        raise FaultyManifests([ManifestFault(place, str(endpoint.ref), "spec.outbound", sentence)])
    return signing_of(inbound), inbound.tolerated.total_seconds()
