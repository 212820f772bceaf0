"""Keys: which resource's plan must be made."""

from typing import NamedTuple

from troth.resources.references import Ref

ISSUER_VIEW = "IssuerView"
"""Of a key whose plan is a part of a TrustDomain's, made apart from the rest and before it: what an
issuer may issue must follow at once, and it changes whenever an identity does.
"""


class Key(NamedTuple):
    """Names one resource whose plan must be made."""

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
    """Return the key of what the issuer of a TrustDomain works from: who may have which tokens."""
    return Key(ISSUER_VIEW, Ref("", domain))


def status_key(key: Key) -> Key:
    """Return the key of the resource whose status and Events tell how it went."""
    return domain_key(key.ref.name) if key.kind == ISSUER_VIEW else key


Keys = set[Key]
