"""Changes of brokers, policies and credentials, and the keys that they affect."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from functools import lru_cache
from typing import TypeVar

from troth.resources.identity.spec import ServiceIdentity
from troth.resources.messaging.message_broker import MessageBroker
from troth.resources.messaging.topic_policy import TopicPolicy
from troth.resources.references import Ref
from troth.trust.declarations.messaging import Uses, entries_of, uses_of
from troth.trust.grants import Action
from troth.trust.topics.candidate import principal_of
from troth.world.facts.broker import CredentialSecret, Ledger
from troth.world.facts.objects import OWNER_NAME, Manifest
from troth.world.first_seen import with_first_seen
from troth.world.index.broker_state import BrokerState
from troth.world.keys import Keys, broker_key, identity_key, policy_key
from troth.world.observation.broker_secrets import credential_secret
from troth.world.observation.ledger import broker_of

R = TypeVar("R", MessageBroker, TopicPolicy)


class Brokers(BrokerState):
    """Declared brokers and policies, with the changes that they take in."""

    # Queries

    def secret(self, identity: Ref, broker: Ref) -> CredentialSecret | None:
        """Return the facts of the Secret with an identity's credential at a broker."""
        return self.secrets.get(credential_ref(identity, broker))

    # Changes

    def take_broker(self, ref: Ref, after: MessageBroker | None, fault: str) -> Keys:
        """Take in a broker, or the `fault` of an unreadable one; return the affected keys."""
        before, declared = self.messaging.brokers.get(ref), self.messaging
        left = self.leaving_brokers.pop(ref, None)
        if after is not None and before is not None and _same(before, after):
            declared.brokers[ref] = after
            return {broker_key(ref)}
        affected = self._around_broker(ref) | self._named_by(declared.invalid_policies)
        affected |= self._around_unread(ref.namespace)
        if after is None:
            declared.drop_broker(ref)
            if fault:
                declared.refuse_broker(ref, fault)
            else:
                self.forget_observation(ref)
        elif after.metadata.deletion_timestamp is not None:
            declared.drop_broker(ref)
            self.leaving_brokers[ref] = after
            if left is not None and left.spec == after.spec:
                return {broker_key(ref)}
        else:
            declared.put_broker(after)
        if before is not None and after is not None:
            observation = self.observation(ref).to_observe_again()
            elsewhere = _elsewhere(before, after)
            self.note_observation(
                ref,
                replace(observation, observed=None, foreign=frozenset(), failures={})
                if elsewhere
                else observation,
            )
        return affected | self._around_broker(ref) | self._holding(ref)

    def take_policy(self, ref: Ref, after: TopicPolicy | None, fault: str) -> Keys:
        """Take in a policy, or the `fault` of an unreadable one; return the affected keys."""
        before, declared = self.messaging.policies.get(ref), self.messaging
        left = self.leaving_policies.pop(ref, None)
        if after is not None and before is not None and _same(before, after):
            declared.policies[ref] = after
            held = before.metadata.finalizers != after.metadata.finalizers
            return {policy_key(ref)} | ({broker_key(after.broker)} if held else set())
        affected = self._around_policy(ref) | self._around_leaving(left)
        if fault or ref in declared.invalid_policies:  # it may belong to any broker
            affected |= self._all_brokers()
        if after is None:
            declared.drop_policy(ref)
            if fault:
                declared.refuse_policy(ref, fault)
        elif after.metadata.deletion_timestamp is not None:
            declared.drop_policy(ref)
            self.leaving_policies[ref] = after
            affected |= self._around_leaving(after)
        else:
            declared.put_policy(after)
        return affected | self._around_policy(ref)

    def take_identity(self, ref: Ref, after: ServiceIdentity | None, *, readable: bool) -> Keys:
        """Take in the policies that an identity names; an unreadable one keeps its last ones."""
        affected = self.around_identities({ref})
        if after is not None:
            self.messaging.put_uses(ref, uses_of(after))
        elif readable:
            self.messaging.put_uses(ref, Uses())
        affected |= self._around_unread(ref.namespace)
        if ref in self.messaging.brokers:  # whose NetworkPolicy would have the same name
            affected.add(broker_key(ref))
        if self.messaging.invalid_policies:  # by which it may have a grant at any broker
            affected |= self._all_brokers()
        return affected | self.around_identities({ref}) | self._retaining_for(ref)

    def take_secret(self, ref: Ref, manifest: Manifest | None, uptime: float) -> Keys:
        """Take in a credential Secret, None if it was deleted or is no longer one."""
        before = self.secrets.pop(ref, None)
        after = credential_secret(manifest) if manifest is not None else None
        for uid in before.owner_uids if before is not None else ():
            self._owned.discard(uid, ref)
        for uid in after.owner_uids if after is not None else ():
            self._owned.add(uid, ref)
        if after is not None:
            self.secrets[ref] = with_first_seen(after, before, uptime)
        facts = [each for each in (before, after) if each is not None]
        owners = (Ref(ref.namespace, each.labels.get(OWNER_NAME, "")) for each in facts)
        brokers = {broker_key(each.broker) for each in facts if each.broker is not None}
        affected = brokers | {identity_key(owner) for owner in owners if owner.name}
        return affected if _relied(before) == _relied(after) else affected | self._relying_on(ref)

    def _relying_on(self, secret: Ref) -> Keys:
        """Return the policies with a grant that needs the credential in a Secret of this name."""
        affected: Keys = set()
        parts = secret.name.split("-")
        for end in range(1, len(parts)):
            identity, broker = Ref(secret.namespace, "-".join(parts[:end])), "-".join(parts[end:])
            around = self._readable_around(identity)
            affected |= {policy_key(each.ref) for each in around if each.broker.name == broker}
        return affected

    def take_ledger(self, ref: Ref, manifest: Manifest | None) -> Keys:
        """Take in the ConfigMap of a ledger, which must be in Troth's own namespace."""
        broker = broker_of(ref)
        if broker is None or ref.namespace != self._own_namespace:
            return set()
        known = self.ledger(broker)
        if manifest is None:
            self.ledgers.pop(broker, None)
            self._packed.pop(broker, None)
        else:
            self.ledgers[broker] = self.kept(broker, manifest)
        after = self.ledger(broker)
        changed = (known or Ledger()).changed_principals(after or Ledger())
        affected = {broker_key(broker)} | self.of_principals(broker, changed)
        if known is not None and after is not None:
            return affected | self._policies_of(broker, self._adopted(broker, known, after))
        affected |= set(map(policy_key, self.messaging.at(broker)))
        # leftover credentials stay as long as it is unknown what Troth created there
        return affected if (known is None) == (after is None) else affected | self._holding(broker)

    def _adopted(self, broker: Ref, before: Ledger, after: Ledger) -> set[str]:
        """Return the principals of rules that a broker has and that only one of two ledgers has.

        No other change announces these rules. The observation of the broker announces the others.
        """
        observed = self.observation(broker).observed
        changed = before.rules ^ after.rules
        return {each.principal for each in changed if observed is None or each in observed.rules}

    # Affected keys

    def around_identities(self, identities: Iterable[Ref]) -> Keys:
        """Return the policies of identities on either side, with their brokers and consumers."""
        return self._and_brokers({policy for ref in identities for policy in self._around(ref)})

    def _around(self, identity: Ref) -> frozenset[Ref]:
        """Return the policies that an identity names or that name it, which need not exist."""
        uses = self.messaging.uses(identity)
        return uses.publishes | uses.consumes | self.messaging.asking(identity)

    def _readable_around(self, identity: Ref) -> Iterator[TopicPolicy]:
        """Yield the readable policies that an identity names or that name it."""
        policies = self.messaging.policies
        return (policies[ref] for ref in self._around(identity) if ref in policies)

    def around_namespaces(self, namespaces: set[str], identities: Iterable[Ref]) -> Keys:
        """Return the policies in namespaces and of identities there, with all that they affect."""
        affected = self.around_identities(identities)
        for ref in self.messaging.policies:
            if ref.namespace in namespaces:
                affected |= self._around_policy(ref)
        return affected

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

    def _and_brokers(self, policies: set[Ref]) -> Keys:
        found = (self.messaging.policies.get(policy) for policy in policies)
        brokers = {broker_key(policy.broker) for policy in found if policy is not None}
        return {*map(policy_key, policies), *brokers, *self._consuming(policies)}

    def _holding(self, broker: Ref) -> Keys:
        """Return the identities with a Secret that may be for a broker, judged by its name."""
        return {
            identity_key(Ref(ref.namespace, owner))
            for ref, secret in self.secrets.items()
            if ref.name.endswith(f"-{broker.name}") and (owner := secret.labels.get(OWNER_NAME))
        }

    def _consuming(self, policies: Iterable[Ref]) -> Keys:
        """Return the identities that consume by policies, whose document names the publishers.

        For an unreadable policy these may be all identities that name it.
        """
        consuming: set[Ref] = set()
        for policy in policies:
            asked = self.messaging.entries(policy)
            consuming |= {each.identity for each in asked if each.action is Action.CONSUME}
            if policy in self.messaging.invalid_policies:
                consuming |= self.messaging.users(policy)
        return set(map(identity_key, consuming))

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
        affected.add(broker_key(policy.broker))
        broker = declared.brokers.get(policy.broker)
        beside = declared.found_at(broker.spec.topic_places) if broker is not None else []
        rivals: set[Ref] = set()
        groups = {each.group for each in declared.entries(ref) if each.group}
        for other in beside:
            rivals |= {each.ref for each in declared.elsewhere(other.ref, policy.spec.environment)}
            for group in groups:
                rivals |= {found for found, _ in declared.by_group(other.ref, group)}
        rivals.discard(ref)
        return affected | self._and_brokers(rivals) | self._named_by(rivals)

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
def credential_ref(identity: Ref, broker: Ref) -> Ref:
    """Return the Secret with an identity's credential at a broker."""
    return Ref(identity.namespace, f"{identity.name}-{broker.name}")


@lru_cache(maxsize=1 << 16)
def identity_of(prefix: str, principal: str) -> Ref | None:
    """Return the identity with a principal at a broker with this prefix, None if there is none.

    This is the inverse of `principal_of`: the name of a namespace has no dot.
    """
    namespace, dot, name = principal.removeprefix(prefix).partition(".")
    return Ref(namespace, name) if dot and principal.startswith(prefix) else None


def _same(before: R, after: R) -> bool:
    return (
        before.spec == after.spec
        and after.metadata.deletion_timestamp is None
        and before.metadata.uid == after.metadata.uid
    )


def _relied(secret: CredentialSecret | None) -> object:
    """Return what the status of a grant depends on in the Secret of its credential."""
    if secret is None:
        return None
    whose = (secret.owner_uids, secret.broker, secret.principal)
    return (*whose, secret.intact, secret.current)


def _elsewhere(before: MessageBroker, after: MessageBroker) -> bool:
    """Return whether the observation of a broker does not apply to its new spec."""
    return before.spec.principal_places != after.spec.principal_places
