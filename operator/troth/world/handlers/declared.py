"""Handlers of brokers, topic policies, rotations and webhook endpoints."""

from troth.resources.messaging.event_age import DEFAULT_AGE, event_age, namespaces_of
from troth.resources.messaging.message_broker import MessageBroker
from troth.resources.messaging.topic_policy import TopicPolicy
from troth.resources.messaging.topic_policy_status import PolicyClaim
from troth.resources.metadata import is_terminating
from troth.resources.references import Ref
from troth.resources.rotation.spec import CredentialRotation
from troth.resources.webhooks.endpoint import WebhookEndpoint
from troth.world.change import Change
from troth.world.facts.objects import Unreadable
from troth.world.handlers.webhook_endpoint import take_webhook
from troth.world.index.rotations import rotation_key, target_key
from troth.world.invalidation import claiming
from troth.world.keys import Keys, broker_key, domain_key, policy_key, webhook_key
from troth.world.observation.resources import parsed, policy_claims, says_terminating
from troth.world.state import WorldState


def take_broker(world: WorldState, change: Change) -> Keys:
    """Take in the current state of a MessageBroker; return the affected keys."""
    after, fault = parsed(change.manifest, MessageBroker)
    world.note_unreadable(broker_key(change.ref), change.manifest, fault)
    before = _pods_of_broker(world, change.ref)
    if after is None:
        world.memo.forget(change.ref)
    affected = {broker_key(change.ref)} | world.brokers.take_broker(change.ref, after, fault)
    if _pods_of_broker(world, change.ref) != before:  # its namespace is not isolated
        affected |= claiming(world.registry, change.ref.namespace)
    return affected


def _pods_of_broker(world: WorldState, ref: Ref) -> tuple[bool, bool]:
    """Return whether a broker has pods in its namespace, and whether it is unreadable."""
    broker, unreadable = world.brokers.declared(ref), world.brokers.messaging.invalid_brokers
    return broker is not None and broker.spec.workload is not None, ref in unreadable


def take_topic_policy(world: WorldState, change: Change) -> Keys:
    """Take in the current state of a TopicPolicy; return the affected keys."""
    before = world.brokers.messaging.policies.get(change.ref)
    some_unreadable = bool(world.brokers.messaging.invalid_policies)
    after, fault = parsed(change.manifest, TopicPolicy)
    world.note_unreadable(policy_key(change.ref), change.manifest, fault)
    if after is None:
        world.memo.forget(change.ref)
    claims = policy_claims(change.manifest) if fault else ()
    affected = world.brokers.take_policy(change.ref, after, fault, claims)
    declared = world.brokers.messaging.policies.get(change.ref)
    redeclared = before is None or declared is None or before.spec != declared.spec
    if redeclared or _claims(before) != _claims(declared):
        world.grants.forget([change.ref])
    if redeclared:
        affected |= _keeping_events_of(world, before, declared)
    if bool(world.brokers.messaging.invalid_policies) != some_unreadable:
        # An unreadable policy may be of any trust domain.
        affected |= set(map(domain_key, world.registry.domains))
    return {policy_key(change.ref)} | affected


def _claims(policy: TopicPolicy | None) -> tuple[PolicyClaim, ...]:
    return () if policy is None else policy.status.claims


def _keeping_events_of(world: WorldState, *policies: TopicPolicy | None) -> Keys:
    """Return the trust domains whose retired roots must verify events of these policies."""
    return {
        key
        for policy in policies
        if policy is not None and event_age(policy) > DEFAULT_AGE
        for namespace in namespaces_of(policy)
        for key in claiming(world.registry, namespace)
    }


def take_rotation(world: WorldState, change: Change) -> Keys:
    """Take in the current state of a CredentialRotation; return the affected keys."""
    key, before = rotation_key(change.ref), world.rotations.by_ref.get(change.ref)
    after, fault = parsed(change.manifest, CredentialRotation)
    world.unreadable.pop(key, None)
    world.rotations.drop(change.ref)
    if after is not None:
        world.rotations.put(after)
    elif change.manifest is not None:
        world.unreadable[key] = Unreadable(change.manifest, fault)
    if (
        before is not None
        and after is not None
        and before.spec == after.spec
        and is_terminating(before) == is_terminating(after)
    ):
        return {key}
    return {key} | {target_key(each) for each in (before, after) if each is not None}


def take_endpoint(world: WorldState, change: Change) -> Keys:
    """Take in the current state of a WebhookEndpoint; return the affected keys."""
    after, fault = parsed(change.manifest, WebhookEndpoint)
    world.note_unreadable(webhook_key(change.ref), change.manifest, fault)
    before = world.registry.webhooks.endpoints.get(change.ref)
    terminating = says_terminating(change.manifest)
    world.webhooks.take_endpoint(before, None if terminating else after)
    # one that is being deleted asks for nothing, whatever it says
    return take_webhook(world.registry, change.ref, after, "" if terminating else fault)
