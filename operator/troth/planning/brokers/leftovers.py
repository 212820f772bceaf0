"""Credentials of an identity at brokers where it no longer has grants.

The name of a Secret alone decides which broker it is for, because anybody may have written its
content.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from troth.planning.grants.rules import retainable, retains
from troth.planning.steps.objects import Remove
from troth.resources.messaging.message_broker import BrokerMode, MessageBroker
from troth.resources.messaging.topic_policy import OnDelete, TopicPolicy
from troth.resources.references import Ref
from troth.trust.declarations.registry import Registry
from troth.trust.declarations.topics.grant_entries import entries_of
from troth.trust.topics.candidate import principal_of
from troth.world.facts.broker import CredentialSecret, Ledger


@dataclass(frozen=True, slots=True)
class FormerBroker:
    """Broker that an unwanted credential may be for.

    `declared` is None if it cannot be read or does not exist. `ledger` is None if it is unknown.
    `going` are the policies that end, alone or with the broker.
    """

    declared: MessageBroker | None
    is_unreadable: bool
    ledger: Ledger | None
    going: tuple[TopicPolicy, ...]


@dataclass(frozen=True, slots=True)
class Leftover:
    """Credential Secret of an identity that no grant needs, and the brokers it may be for."""

    secret: CredentialSecret
    brokers: tuple[FormerBroker, ...]


def leftovers(identity: Ref, found: Iterable[Leftover], registry: Registry) -> Iterator[Remove]:
    """Yield the removals of an identity's credential Secrets that no grant needs.

    A Secret stays while a grant outlives its policy, or may do so.
    """
    for each in found:
        if not any(_needs(broker, identity, registry) for broker in each.brokers):
            yield Remove("Secret", each.secret.ref, each.secret.uid)


def _needs(broker: FormerBroker, identity: Ref, registry: Registry) -> bool:
    """Return whether a grant outlives its policy at a broker, or may do so."""
    declared, ledger = broker.declared, broker.ledger
    if broker.is_unreadable or _retains(broker, identity):
        return True
    if declared is None:
        return False
    if declared.spec.mode is not BrokerMode.ENFORCE or ledger is None:
        return True
    principal = principal_of(declared, identity)
    kept = [rule for rule in ledger.retained if rule.principal == principal]
    return bool(retainable(declared, kept, registry))


def _retains(broker: FormerBroker, identity: Ref) -> bool:
    """Return whether a policy that ends, alone or with its broker, leaves its grants in place."""
    declared = broker.declared
    return any(
        (retains(declared, policy) if declared else policy.spec.on_delete is OnDelete.RETAIN)
        and any(asked.identity == identity for asked in entries_of(policy))
        for policy in broker.going
    )
