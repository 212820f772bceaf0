"""Keys that a change of a broker, a policy, an identity or a credential affects."""

from collections.abc import Collection, Iterable, Iterator
from functools import lru_cache

from troth.resources.messaging.topic_policy import TopicPolicy
from troth.resources.references import Ref
from troth.trust.declarations.topics.grant_entries import entries_of
from troth.trust.declarations.topics.messaging import (
    retry_topics_of,
    reviewed_streams_of,
    streams_of,
    topics_of,
)
from troth.trust.grants import Action
from troth.trust.topics.candidate import principal_of
from troth.world.facts.objects import OWNER_NAME
from troth.world.index.broker_state import BrokerState
from troth.world.keys import Keys, broker_key, identity_key, policy_key


class BrokerKeys(BrokerState):
    """Declared brokers and policies, with the keys that depend on each of them."""

    def around_identities(self, identities: Iterable[Ref]) -> Keys:
        """Return the policies of identities on either side, with their brokers and consumers."""
        return self.around_policies({policy for ref in identities for policy in self._around(ref)})

    def _around(self, identity: Ref) -> frozenset[Ref]:
        """Return the policies that an identity names or that name it, which need not exist."""
        return self.messaging.uses(identity).policies | self.messaging.asking(identity)

    def _readable_around(self, identity: Ref) -> Iterator[TopicPolicy]:
        """Yield the readable policies that an identity names or that name it."""
        policies = self.messaging.policies
        return (policies[ref] for ref in self._around(identity) if ref in policies)

    def _relying_on(self, secret: Ref) -> Keys:
        """Return the policies with a grant that needs the credential in a Secret of this name."""
        affected: Keys = set()
        parts = secret.name.split("-")
        for end in range(1, len(parts)):
            identity, broker = Ref(secret.namespace, "-".join(parts[:end])), "-".join(parts[end:])
            around = self._readable_around(identity)
            affected |= {policy_key(each.ref) for each in around if each.broker.name == broker}
        return affected

    def around_namespaces(self, namespaces: set[str], identities: Iterable[Ref]) -> Keys:
        """Return the policies in namespaces and of identities there, with all that they affect.

        A policy may name identities there that are unreadable or do not exist.
        """
        affected = self.around_identities(identities)
        naming = set()
        for ref in self.messaging.policies:
            if ref.namespace in namespaces:
                affected |= self._around_policy(ref)
            elif any(each.identity.namespace in namespaces for each in self.messaging.entries(ref)):
                naming.add(ref)
        return affected | self.around_policies(naming)

    def everything(self) -> Keys:
        """Return all policies, brokers, and identities that use any."""
        declared = self.messaging
        policies = {*declared.policies, *declared.invalid_policies, *self.leaving_policies}
        brokers = {*declared.brokers, *declared.invalid_brokers, *self.leaving_brokers}
        named = self._named_by(policies)
        return {*map(policy_key, policies), *map(broker_key, brokers), *named}

    def of_principals(self, broker: Ref, principals: Collection[str]) -> Keys:
        """Return the identities with these principals at a broker, and their policies there.

        Policies that are being deleted are included, because they wait for the end of their grants.
        """
        affected = self._policies_of(broker, principals)
        affected |= {policy_key(policy.ref) for policy in self.leaving_at(broker)}
        return affected | set(map(identity_key, self._identities(broker, principals)))

    def _policies_of(self, broker: Ref, principals: Collection[str]) -> Keys:
        """Return the policies of a broker that name the identities with these principals, or that
        these identities name.
        """
        return {
            policy_key(policy.ref)
            for identity in self._identities(broker, principals)
            for policy in self._readable_around(identity)
            if policy.broker == broker
        }

    def _identities(self, broker: Ref, principals: Collection[str]) -> set[Ref]:
        declared = self.declared(broker)
        prefix = declared.spec.owns.principal_prefix if declared is not None else ""
        found = (identity_of(prefix, principal) for principal in principals)
        return {identity for identity in found if identity is not None}

    def leaving_with(self, affected: Keys) -> Keys:
        """Return the policies that are being deleted at brokers of which anything changes.

        They wait for the end of their grants there, which another policy may declare too.
        """
        leaving = self.leaving_policies.items()
        return {policy_key(ref) for ref, each in leaving if broker_key(each.broker) in affected}

    def concerned_by_state(self, broker: Ref) -> Keys:
        """Return the keys affected when a broker becomes reachable or unreachable."""
        policies = self.messaging.at(broker)
        leaving = {policy_key(policy.ref) for policy in self.leaving_at(broker)}
        return {*map(policy_key, policies), *leaving, *self._named_by(policies)}

    def around_policies(self, policies: Collection[Ref]) -> Keys:
        """Return policies with their brokers, consumers and reviewers, and all about their rivals.

        Whether a grant stands depends on whether those of its rivals are refused.
        """
        rivals = {rival for policy in policies for rival in self._rivals(policy)}
        affected = {*policies, *rivals}
        found = (self.messaging.policies.get(policy) for policy in affected)
        brokers = {broker_key(policy.broker) for policy in found if policy is not None}
        keys = {*map(policy_key, affected), *brokers, *self._reading(affected)}
        return keys | self._named_by(rivals)

    def _rivals(self, ref: Ref) -> set[Ref]:
        """Return the other policies that may have a claim in common with a policy."""
        declared = self.messaging
        policy = declared.policies.get(ref)
        broker = declared.brokers.get(policy.broker) if policy is not None else None
        if policy is None or broker is None:
            return set()
        groups = {each.group for each in declared.entries(ref) if each.group}
        streams, reviewed = streams_of(policy), reviewed_streams_of(policy)
        topics, retries = topics_of(policy), retry_topics_of(policy)
        rivals: set[Ref] = set()
        for other in declared.found_at(broker.spec.topic_places):
            for group in groups:
                rivals |= {found for found, _ in declared.by_group(other.ref, group)}
            for stream in reviewed:
                rivals |= declared.by_stream(other.ref, stream)
            for stream in streams:
                rivals |= declared.by_reviewed_stream(other.ref, stream)
            for topic in retries:
                rivals |= declared.by_topic(other.ref, topic)
            for topic in topics:
                rivals |= declared.by_retry_topic(other.ref, topic)
                rivals |= {
                    found
                    for found in declared.by_topic(other.ref, topic)
                    if declared.policies[found].spec.environment != policy.spec.environment
                }
        return rivals - {ref}

    def _holding(self, broker: Ref) -> Keys:
        """Return the identities with a Secret that may be for a broker, judged by its name."""
        return {
            identity_key(Ref(ref.namespace, owner))
            for ref, secret in self.secrets.items()
            if ref.name.endswith(f"-{broker.name}") and (owner := secret.labels.get(OWNER_NAME))
        }

    def _reading(self, policies: Iterable[Ref]) -> Keys:
        """Return the consumers and reviewers of policies, whose documents name other identities.

        For an unreadable policy these may be all identities that name it.
        """
        reading: set[Ref] = set()
        for policy in policies:
            asked = self.messaging.entries(policy)
            reading |= {each.identity for each in asked if each.action is not Action.PUBLISH}
            users = self.messaging.users(policy)
            reading |= {each for each in users if policy in self.messaging.uses(each).reviews}
            if policy in self.messaging.invalid_policies:
                reading |= users
        return set(map(identity_key, reading))

    def _around_broker(self, ref: Ref) -> Keys:
        """Return a broker and those at the same servers, with their policies and identities."""
        declared = self.messaging
        brokers = {ref}
        broker = declared.brokers.get(ref)
        if broker is not None:
            places = broker.spec.topic_places | broker.spec.principal_places
            brokers |= {each.ref for each in declared.found_at(places)}
        policies = frozenset().union(*(declared.at(each) for each in brokers))
        affected = {*map(broker_key, brokers), *map(policy_key, policies)}
        for each in brokers:
            affected |= self._around_retained(each)
        return affected | self._named_by(policies) | self._sharing_admin(ref)

    def _sharing_admin(self, ref: Ref) -> Keys:
        """Return the brokers with the admin Secret of a broker, which none of them may rotate."""
        broker = self.declared(ref)
        if broker is None:
            return set()
        leaving = self.leaving_brokers.items()
        going = (other for other, each in leaving if each.admin_secret == broker.admin_secret)
        return set(map(broker_key, (*self.messaging.beside(broker), *going)))

    def _around_policy(self, ref: Ref) -> Keys:
        """Return a policy, its broker, its identities, and policies with possible conflicts."""
        declared = self.messaging
        affected = {policy_key(ref), *self._named_by({ref})}
        policy = declared.policies.get(ref)
        if policy is None:
            return affected
        # a reviewer of one policy may be a producer of another
        entries = declared.entries(ref)
        others = {each.identity for each in entries if not each.purpose.is_of_reviewer}
        reviewed = {each for other in others for each in declared.uses(other).reviews}
        return affected | self.around_policies({ref, *reviewed}) | self._named_by(reviewed)

    def _all_brokers(self) -> Keys:
        return {broker_key(ref) for ref in (*self.messaging.brokers, *self.leaving_brokers)}

    def _retaining_for(self, identity: Ref) -> Keys:
        """Return the brokers at which grants of an identity outlive their policy.

        They do so only as long as the identity exists.
        """
        return {
            broker_key(ref)
            for ref, kept in self.ledgers.items()
            if kept.ledger.retained
            and (broker := self.declared(ref)) is not None
            and (principal := principal_of(broker, identity))
            and any(rule.principal == principal for rule in kept.ledger.retained)
        }

    def _around_unread(self, namespace: str) -> Keys:
        """Return the keys that depend on the unreadable brokers of a namespace.

        Rules are attributed to a broker by excluding those of all others.
        """
        unread = (ref for ref in self.messaging.invalid_brokers if ref.namespace == namespace)
        return set().union(*(self._named_by(self.messaging.at(ref)) for ref in unread))

    def _around_retained(self, broker: Ref) -> Keys:
        """Return the terminating policies of a broker, and the identities with retained grants."""
        ledger = self.ledger(broker)
        retained = ledger.retained if ledger is not None else ()
        affected = self.of_principals(broker, {rule.principal for rule in retained})
        for policy in self.leaving_at(broker):
            affected |= self._around_leaving(policy)
        return affected

    def _around_leaving(self, policy: TopicPolicy | None) -> Keys:
        """Return the broker of a terminating policy, and the identities with retained grants."""
        if policy is None:
            return set()
        named = (identity_key(each.identity) for each in entries_of(policy))
        return {broker_key(policy.broker), *named}

    def _named_by(self, policies: Iterable[Ref]) -> Keys:
        named: set[Ref] = set()
        for policy in policies:
            named |= {each.identity for each in self.messaging.entries(policy)}
            named |= self.messaging.users(policy)
        return set(map(identity_key, named))


@lru_cache(maxsize=1 << 16)
def identity_of(prefix: str, principal: str) -> Ref | None:
    """Return the identity with a principal at a broker with this prefix, None if there is none.

    This is the inverse of `principal_of`: the name of a namespace has no dot.
    """
    namespace, dot, name = principal.removeprefix(prefix).partition(".")
    return Ref(namespace, name) if dot and principal.startswith(prefix) else None
