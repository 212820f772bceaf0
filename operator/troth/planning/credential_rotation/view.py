"""All inputs of the plan of one CredentialRotation, gathered once."""

from dataclasses import dataclass

from troth.planning.brokers.admin_rotation import AdminState
from troth.planning.brokers.view import admin_state
from troth.planning.identity.facts import View
from troth.planning.identity.view import gather_readable
from troth.planning.moment import Moment
from troth.planning.trust_domain.facts import RotationView
from troth.planning.trust_domain.view import gather_rotation
from troth.planning.webhooks.view import WebhookView, gather_inbound
from troth.resources.identity.spec import ServiceIdentity
from troth.resources.metadata import is_terminating
from troth.resources.rotation.spec import CredentialRotation, TargetKind
from troth.world.facts.objects import Unreadable
from troth.world.index.rotations import target_key
from troth.world.keys import Key
from troth.world.reader import Reader


@dataclass(frozen=True, slots=True)
class OutboundEndpoint:
    """A target without a secret, because outbound endpoints are not supported yet."""


Target = RotationView | View | AdminState | WebhookView | OutboundEndpoint
"""Inputs for the credentials of a trust domain, an identity, a broker or a webhook endpoint."""


@dataclass(frozen=True, slots=True)
class CredentialRotationView:
    """What is known of the CredentialRotation of a key, and of its target.

    `allowed` says whether it is in a namespace that may rotate the target. `target` is None if it
    does not exist, or may not be rotated from there.
    """

    key: Key
    unreadable: Unreadable | None
    rotation: CredentialRotation | None
    allowed: bool
    target: Target | None
    own_namespace: str
    moment: Moment


def gather(key: Key, reader: Reader, moment: Moment) -> CredentialRotationView:
    """Return what is known of the rotation of a key.

    Raises the first error that reading a target identity raises.
    """
    unreadable, rotation = reader.unreadable(key), reader.rotation(key.ref)
    allowed, target = False, None
    if unreadable is None and rotation is not None and not is_terminating(rotation):
        allowed = reader.may_rotate(rotation)
        target = _target(rotation, reader, moment) if allowed else None
    return CredentialRotationView(
        key, unreadable, rotation, allowed, target, reader.own_namespace, moment
    )


def _target(rotation: CredentialRotation, reader: Reader, moment: Moment) -> Target | None:
    ref, registry = target_key(rotation).ref, reader.registry
    match rotation.spec.target.kind:
        case TargetKind.TRUST_DOMAIN:
            domain = registry.domains.get(ref.name)
            if domain is None or is_terminating(domain):
                return None
            return gather_rotation(domain, reader, moment)
        case TargetKind.SERVICE_IDENTITY:
            identity = registry.identities.get(ref)
            return _identity(identity, reader, moment) if identity is not None else None
        case TargetKind.MESSAGE_BROKER:
            broker = reader.messaging.brokers.get(ref)
            return admin_state(broker, reader, moment) if broker is not None else None
        case TargetKind.WEBHOOK_ENDPOINT:
            endpoint = registry.webhooks.endpoints.get(ref)
            if endpoint is None:
                return None
            return gather_inbound(endpoint, reader, moment) or OutboundEndpoint()


def _identity(identity: ServiceIdentity, reader: Reader, moment: Moment) -> View:
    view = gather_readable(identity, reader, moment)
    for error in view.errors:
        raise error
    return view
