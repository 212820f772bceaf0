"""Index of brokers, policies, credentials and ledgers, and the observations of brokers."""

from collections.abc import Iterator

from troth.resources.messaging.message_broker import MessageBroker
from troth.resources.messaging.topic_policy import TopicPolicy
from troth.resources.references import Ref
from troth.trust.declarations.topics.messaging import Messaging
from troth.trust.grants import Observed, Rule
from troth.trust.multimap import Multimap
from troth.world.facts.broker import BrokerObservation, CredentialSecret, Ledger, StoredLedger
from troth.world.facts.objects import Manifest
from troth.world.observation.ledger import Packed, kept_ledger

UNSEEN = BrokerObservation()


class BrokerState:
    """Declared brokers and policies, and the observations of brokers."""

    def __init__(self, own_namespace: str) -> None:
        self._own_namespace = own_namespace
        self.messaging = Messaging()
        self.leaving_brokers: dict[Ref, MessageBroker] = {}
        self.leaving_policies: dict[Ref, TopicPolicy] = {}
        """Policies that are being deleted. They no longer grant anything."""
        self.ledgers: dict[Ref, StoredLedger] = {}
        self._packed: dict[Ref, Packed] = {}
        self.secrets: dict[Ref, CredentialSecret] = {}
        self._owned = Multimap[str, Ref]()
        self._observations: dict[Ref, BrokerObservation] = {}

    # Queries

    def observation(self, broker: Ref) -> BrokerObservation:
        """Return the observation of a broker."""
        return self._observations.get(broker, UNSEEN)

    def note_observation(self, broker: Ref, observation: BrokerObservation) -> None:
        """Set the observation of a broker."""
        self._observations[broker] = observation

    def forget_observation(self, broker: Ref) -> None:
        """Remove the observation of a broker."""
        self._observations.pop(broker, None)

    def ledger(self, broker: Ref) -> Ledger | None:
        """Return the ledger of a broker, None if it is unknown."""
        kept = self.ledgers.get(broker)
        return kept.ledger if kept is not None and kept.fault is None else None

    def foreign(self, broker: Ref, observed: Observed) -> frozenset[Rule]:
        """Return the observed rules and openings that the ledger of a broker does not have."""
        ledger = self.ledger(broker) or Ledger()
        return (observed.rules - ledger.rules) | observed.openings

    def packed(self, broker: Ref, ledger: Ledger) -> Packed:
        """Return a ledger that will be written for a broker in packed form."""
        made = self._packed[broker] = Packed.of(ledger)
        return made

    def kept(self, broker: Ref, manifest: Manifest) -> StoredLedger:
        """Return the facts of a broker's ledger."""
        return kept_ledger(manifest, self._packed.get(broker))

    def declared(self, broker: Ref) -> MessageBroker | None:
        """Return a readable broker, even if it is being deleted."""
        return self.messaging.brokers.get(broker) or self.leaving_brokers.get(broker)

    def leaving_at(self, broker: Ref) -> Iterator[TopicPolicy]:
        """Yield the policies of a broker that are being deleted."""
        for _, policy in sorted(self.leaving_policies.items()):
            if policy.broker == broker:
                yield policy

    def secrets_of(self, uid: str) -> list[CredentialSecret]:
        """Return the credential Secrets that the identity with this UID owns, sorted."""
        return [self.secrets[ref] for ref in sorted(self._owned.of(uid))]
