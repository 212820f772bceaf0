"""Keys: names of the resources for which plans are made."""

from typing import NamedTuple

from troth.resources.references import Ref

ISSUER_VIEW = "IssuerView"
"""Kind of the key of an issuer's configuration. It is a part of a TrustDomain's plan that is made
separately and first, because it changes with every identity and revocations must be fast."""

BROKER_METADATA, POLICY_METADATA = "BrokerMetadata", "PolicyMetadata"
"""Kinds of the keys of brokers and policies as their metadata alone describes them, in every
namespace. They are also the watch classes of that metadata."""
METADATA_OF = {"MessageBroker": BROKER_METADATA, "TopicPolicy": POLICY_METADATA}
_RESOURCES = {watch_class: kind for kind, watch_class in METADATA_OF.items()}


class Key(NamedTuple):
    """Name of a resource for which plans are made."""

    kind: str
    ref: Ref

    def __str__(self) -> str:
        return f"{self.kind} {self.ref}"


def domain_key(name: str) -> Key:
    """Return the key of a TrustDomain."""
    return Key("TrustDomain", Ref("", name))


def identity_key(ref: Ref) -> Key:
    """Return the key of a ServiceIdentity."""
    return Key("ServiceIdentity", ref)


def broker_key(ref: Ref) -> Key:
    """Return the key of a MessageBroker."""
    return Key("MessageBroker", ref)


def policy_key(ref: Ref) -> Key:
    """Return the key of a TopicPolicy."""
    return Key("TopicPolicy", ref)


def webhook_key(ref: Ref) -> Key:
    """Return the key of a WebhookEndpoint."""
    return Key("WebhookEndpoint", ref)


def view_key(domain: str) -> Key:
    """Return the key of the issuer configuration of a TrustDomain."""
    return Key(ISSUER_VIEW, Ref("", domain))


def status_key(key: Key) -> Key:
    """Return the key of the resource whose status and Events tell how it went."""
    if key.kind == ISSUER_VIEW:
        return domain_key(key.ref.name)
    return key._replace(kind=_RESOURCES.get(key.kind, key.kind))


Keys = set[Key]
