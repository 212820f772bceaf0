"""All inputs of the plan of one CredentialRotation, gathered once."""

from collections.abc import Container
from dataclasses import dataclass

from troth.planning.brokers.admin_rotation import AdminState
from troth.planning.brokers.view import admin_state
from troth.planning.faults import Isolation
from troth.planning.identity.facts import View
from troth.planning.identity.view import gather_readable
from troth.planning.moment import Moment
from troth.planning.trust_domain.facts import RotationView
from troth.planning.trust_domain.view import gather_rotation
from troth.planning.webhooks.view import WebhookView, gather_inbound
from troth.resources.metadata import is_terminating
from troth.resources.references import Ref
from troth.resources.rotation.spec import CredentialRotation, TargetKind
from troth.world.facts.objects import Unreadable
from troth.world.index.rotations import target_key
from troth.world.keys import Key
from troth.world.reader import Reader

Target = RotationView | View | AdminState | WebhookView
"""Inputs for the credentials of a trust domain, an identity, a broker or an inbound endpoint."""


@dataclass(frozen=True, slots=True)
class CredentialRotationView:
    """What is known of the CredentialRotation of a key, and of its target.

    `allowed` says whether it is in a namespace that may rotate the target, and `declared` whether
    the target exists. `target` is None unless both hold, and for an outbound endpoint.
    """

    key: Key
    unreadable: Unreadable | None
    rotation: CredentialRotation | None
    allowed: bool
    declared: bool
    target: Target | None
    own_namespace: str
    moment: Moment


def gather(key: Key, reader: Reader, moment: Moment) -> CredentialRotationView:
    """Return what is known of the rotation of a key.

    Raises the first error that reading a target identity raises.
    """
    unreadable, rotation = reader.unreadable(key), reader.rotation(key.ref)
    allowed = declared = False
    target = None
    if unreadable is None and rotation is not None and not is_terminating(rotation):
        allowed = reader.may_rotate(rotation)
        declared = _is_declared(rotation, reader)
        target = _target(rotation, reader, moment) if allowed and declared else None
    return CredentialRotationView(
        key, unreadable, rotation, allowed, declared, target, reader.own_namespace, moment
    )


def _is_declared(rotation: CredentialRotation, reader: Reader) -> bool:
    registry = reader.registry
    declared: dict[TargetKind, Container[object]] = {
        TargetKind.TRUST_DOMAIN: {
            Ref("", name) for name, each in registry.domains.items() if not is_terminating(each)
        },
        TargetKind.SERVICE_IDENTITY: registry.identities,
        TargetKind.MESSAGE_BROKER: reader.messaging.brokers,
        TargetKind.WEBHOOK_ENDPOINT: registry.webhooks.endpoints,
    }
    return target_key(rotation).ref in declared[rotation.spec.target.kind]


def _target(rotation: CredentialRotation, reader: Reader, moment: Moment) -> Target | None:
    ref, registry = target_key(rotation).ref, reader.registry
    match rotation.spec.target.kind:
        case TargetKind.TRUST_DOMAIN:
            return gather_rotation(registry.domains[ref.name], reader, moment)
        case TargetKind.SERVICE_IDENTITY:
            isolation = Isolation()
            view = gather_readable(registry.identities[ref], reader, moment, isolation, Isolation())
            for error in isolation.errors:
                raise error
            return view
        case TargetKind.MESSAGE_BROKER:
            return admin_state(reader.messaging.brokers[ref], reader, moment)
        case TargetKind.WEBHOOK_ENDPOINT:
            return gather_inbound(registry.webhooks.endpoints[ref], reader, moment)
