"""Handlers of brokers, topic policies, rotations and webhook endpoints."""

from troth.resources.messaging.message_broker import MessageBroker
from troth.resources.messaging.topic_policy import TopicPolicy
from troth.resources.metadata import is_terminating
from troth.resources.references import Ref
from troth.resources.rotation.spec import CredentialRotation
from troth.resources.webhooks.endpoint import WebhookEndpoint
from troth.world.facts.objects import Manifest, Unreadable
from troth.world.handlers.webhook_endpoint import take_webhook
from troth.world.index.rotations import rotation_key, target_key
from troth.world.keys import Keys, broker_key, policy_key, webhook_key
from troth.world.observation.resources import parsed, says_terminating
from troth.world.state import WorldState


def take_broker(world: WorldState, ref: Ref, manifest: Manifest | None) -> Keys:
    """Take in the current state of a MessageBroker; return the affected keys."""
    after, fault = parsed(manifest, MessageBroker)
    world.note_unreadable(broker_key(ref), manifest, fault)
    return {broker_key(ref)} | world.brokers.take_broker(ref, after, fault)


def take_topic_policy(world: WorldState, ref: Ref, manifest: Manifest | None) -> Keys:
    """Take in the current state of a TopicPolicy; return the affected keys."""
    before = world.brokers.messaging.policies.get(ref)
    after, fault = parsed(manifest, TopicPolicy)
    world.note_unreadable(policy_key(ref), manifest, fault)
    affected = world.brokers.take_policy(ref, after, fault)
    declared = world.brokers.messaging.policies.get(ref)
    if before is None or declared is None or before.spec != declared.spec:
        world.grants.forget([ref])
    return {policy_key(ref)} | affected


def take_rotation(world: WorldState, ref: Ref, manifest: Manifest | None) -> Keys:
    """Take in the current state of a CredentialRotation; return the affected keys."""
    key, before = rotation_key(ref), world.rotations.by_ref.get(ref)
    after, fault = parsed(manifest, CredentialRotation)
    world.unreadable.pop(key, None)
    world.rotations.drop(ref)
    if after is not None:
        world.rotations.put(after)
    elif manifest is not None:
        world.unreadable[key] = Unreadable(manifest, fault)
    if (
        before is not None
        and after is not None
        and before.spec == after.spec
        and is_terminating(before) == is_terminating(after)
    ):
        return {key}
    return {key} | {target_key(each) for each in (before, after) if each is not None}


def take_endpoint(world: WorldState, ref: Ref, manifest: Manifest | None) -> Keys:
    """Take in the current state of a WebhookEndpoint; return the affected keys."""
    after, fault = parsed(manifest, WebhookEndpoint)
    world.note_unreadable(webhook_key(ref), manifest, fault)
    before = world.registry.webhooks.endpoints.get(ref)
    terminating = says_terminating(manifest)
    world.webhooks.take_endpoint(before, None if terminating else after)
    # one that is being deleted no longer has a route
    return take_webhook(world.registry, ref, after, "" if terminating else fault)
