"""Secrets that Troth writes for a WebhookEndpoint: their metadata, and conflicts with others."""

from datetime import datetime

from troth.documents.webhook_endpoint import GATEWAY_LABEL
from troth.planning.owned_objects import conflict, metadata_of
from troth.resources.references import Ref
from troth.resources.webhooks.endpoint import WebhookEndpoint
from troth.world.facts.objects import Fact, Fault, Manifest
from troth.world.facts.owned import OwnedObject
from troth.world.facts.webhook import CompiledSecret, KeysSecret
from troth.world.observation.webhook_secrets import COMPILED_TYPE, GENERATED_TYPE, endpoint_of


def generated_manifest(ref: Ref, endpoint: WebhookEndpoint) -> Manifest:
    """Return the Secret for the keys that Troth creates, without the keys."""
    return _secret(metadata_of(ref, endpoint), GENERATED_TYPE)


def compiled_manifest(ref: Ref, endpoint: WebhookEndpoint) -> Manifest:
    """Return the Secret with the gateway's configuration of an endpoint, without its data."""
    assert endpoint.gateway is not None
    metadata = metadata_of(ref, endpoint)
    labels = {**metadata["labels"], GATEWAY_LABEL: endpoint.gateway.name}
    return _secret({**metadata, "labels": labels}, COMPILED_TYPE)


def _secret(metadata: Manifest, type_: str) -> Manifest:
    return {"apiVersion": "v1", "kind": "Secret", "type": type_, "metadata": metadata}


def in_the_way(owned: OwnedObject[Fact], endpoint: WebhookEndpoint, now: datetime) -> Fault | None:
    """Return why a Secret cannot be written: another object has its name."""
    theirs = owned.fact is not None and not is_of(owned.fact, endpoint)
    return conflict(owned, endpoint, now, owned_by_another=theirs)


def is_of(fact: object, endpoint: WebhookEndpoint) -> bool:
    """Return whether a Secret belongs to this endpoint.

    A compiled Secret is in another namespace and has no owner reference. Its name says which
    endpoint it belongs to, and an endpoint takes over the Secret of a deleted one of the same name.
    Troth then restores labels that somebody changed.
    """
    match fact:
        case CompiledSecret():
            return endpoint_of(fact.ref) == endpoint.ref
        case KeysSecret():
            return endpoint.metadata.uid in fact.owner_uids
        case _:
            return False
