"""How a sender signs, as a WebhookEndpoint says it."""

from collections.abc import Sequence
from pathlib import Path

from troth.cli.inputs import sources
from troth.documents.webhook_endpoint import Signing
from troth.planning.webhooks.document import signing_of
from troth.resources.manifests import Fault, FaultyManifests, parse_resource
from troth.resources.webhooks.endpoint import WebhookEndpoint


def read_endpoint(files: Sequence[Path]) -> tuple[Signing, float]:
    """Return how the sender signs, and the tolerance in seconds, of the one endpoint in manifests.

    Raises `FaultyManifests`, also where there is none or more than one.
    """
    place = ", ".join(map(str, files))
    parsed = (
        parse_resource(each)
        for each in sources.read(files)
        if each["kind"] == WebhookEndpoint.__name__
    )
    endpoints = [each for each in parsed if isinstance(each, WebhookEndpoint)]
    if len(endpoints) != 1:
        sentence = f"it has {len(endpoints)} WebhookEndpoints; name a file with one"
        raise FaultyManifests([Fault(place, "", "", sentence)])
    (endpoint,) = endpoints
    inbound = endpoint.spec.inbound
    if inbound is None or inbound.scheme is None:
        sentence = "it is outbound; nobody's deliveries are verified by it"
        raise FaultyManifests([Fault(place, str(endpoint.ref), "spec.outbound", sentence)])
    return signing_of(inbound), inbound.tolerated.total_seconds()
