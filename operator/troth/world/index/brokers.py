"""Changes of brokers, policies, credentials and ledgers."""

from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache
from typing import TypeVar

from troth.resources.identity.spec import ServiceIdentity
from troth.resources.messaging.message_broker import MessageBroker
from troth.resources.messaging.message_broker_status import MessageBrokerStatus
from troth.resources.messaging.topic_policy import TopicPolicy
from troth.resources.messaging.topic_policy_status import PolicyClaim
from troth.resources.references import Ref
from troth.trust.declarations.topics.messaging import Uses, uses_of
from troth.world.facts.broker import CredentialSecret, Ledger
from troth.world.facts.objects import OWNER_NAME, Manifest
from troth.world.first_seen import with_first_seen
from troth.world.index.broker_keys import BrokerKeys
from troth.world.keys import Keys, broker_key, identity_key, policy_key
from troth.world.observation.broker_secrets import credential_secret
from troth.world.observation.ledger import broker_of

R = TypeVar("R", MessageBroker, TopicPolicy)


class Brokers(BrokerKeys):
    """Declared brokers and policies, with the changes that they take in."""

    # Queries

    def secret(self, identity: Ref, broker: Ref) -> CredentialSecret | None:
        """Return the facts of the Secret with an identity's credential at a broker."""
        return self.secrets.get(credential_ref(identity, broker))

    def named_by(self, secret: Ref, identity: Ref) -> frozenset[Ref]:
        """Return the brokers that an identity's credential Secret may be for, by its name."""
        declared = self.messaging
        asking = (declared.policies[policy] for policy in declared.asking(identity))
        named = {policy.broker for policy in (*asking, *self.leaving_policies.values())}
        known = {*declared.brokers, *declared.invalid_brokers, *self.leaving_brokers, *named}
        return frozenset(each for each in known if credential_ref(identity, each) == secret)

    # Changes

    def take_broker(self, ref: Ref, after: MessageBroker | None, fault: str) -> Keys:
        """Take in a broker, or the `fault` of an unreadable one; return the affected keys."""
        before, declared = self.messaging.brokers.get(ref), self.messaging
        left = self.leaving_brokers.pop(ref, None)
        if after is not None and before is not None and _same(before, after):
            declared.brokers[ref] = after
            return {broker_key(ref)} | self._reading_status(ref, before.status, after.status)
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
                replace(
                    observation,
                    observed=None,
                    foreign=frozenset(),
                    failures={},
                    clients=None,
                    exposed=None,
                )
                if elsewhere
                else observation,
            )
        return affected | self._around_broker(ref) | self._holding(ref)

    def _reading_status(
        self, ref: Ref, before: MessageBrokerStatus, after: MessageBrokerStatus
    ) -> Keys:
        """Return the policies and identities that read in a broker's status who has no room."""
        affected: Keys = set()
        if _without_room(before) != _without_room(after):
            affected |= set(map(policy_key, self.messaging.at(ref)))
        if bool(before.rotations_without_room) != bool(after.rotations_without_room):
            affected |= self._holding(ref)
        return affected

    def take_policy(
        self, ref: Ref, after: TopicPolicy | None, fault: str, claims: tuple[PolicyClaim, ...]
    ) -> Keys:
        """Take in a policy, or fault and claims of an unreadable one; return the affected keys."""
        before, declared = self.messaging.policies.get(ref), self.messaging
        left = self.leaving_policies.pop(ref, None)
        if after is not None and before is not None and _same(before, after):
            declared.policies[ref] = after
            affected = {policy_key(ref)}
            if before.metadata.finalizers != after.metadata.finalizers:
                affected.add(broker_key(after.broker))
            if before.status.claims != after.status.claims and self._rivals(ref):
                affected |= self._around_policy(ref)
            return affected
        affected = self._around_policy(ref) | self._around_leaving(left)
        if fault or ref in declared.invalid_policies:  # it may belong to any broker
            affected |= self._all_brokers()
        if claims != declared.unread_claims.get(ref, ()):
            affected |= self._claimed_at({*claims, *declared.unread_claims.get(ref, ())})
        if after is None:
            declared.drop_policy(ref)
            if fault:
                declared.refuse_policy(ref, fault, claims)
        elif after.metadata.deletion_timestamp is not None:
            declared.drop_policy(ref)
            self.leaving_policies[ref] = after
            affected |= self._around_leaving(after)
        else:
            declared.put_policy(after)
        return affected | self._around_policy(ref)

    def _claimed_at(self, claims: Iterable[PolicyClaim]) -> Keys:
        """Return the brokers of claims, with what is declared there."""
        return set().union(*map(self._around_broker, {Ref.parse(each.broker) for each in claims}))

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


def _without_room(status: MessageBrokerStatus) -> tuple[object, ...]:
    return status.namespaces_without_room, status.clients_without_room


@lru_cache(maxsize=1 << 16)
def credential_ref(identity: Ref, broker: Ref) -> Ref:
    """Return the Secret with an identity's credential at a broker."""
    return Ref(identity.namespace, f"{identity.name}-{broker.name}")


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
