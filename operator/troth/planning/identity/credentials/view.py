"""What an identity's plan asks the world about its credentials at brokers."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from troth.planning.brokers.leftovers import Leftover
from troth.planning.brokers.view import gather_leftovers
from troth.planning.grants.topic_uses import TopicUses, topic_uses
from troth.resources.identity.spec import ServiceIdentity
from troth.resources.messaging.message_broker import BrokerMode
from troth.resources.references import Ref
from troth.world.facts.broker import BrokerObservation, CredentialSecret, Ledger
from troth.world.facts.owned import OwnedObject
from troth.world.index.brokers import credential_ref
from troth.world.reader import Reader


@dataclass(frozen=True, slots=True)
class BrokerUse:
    """An identity's grants at one broker, and the Secret for its credential there.

    `is_other` says that a Secret of Troth without a credential has its name. `ledger` is None if it
    is unknown.
    """

    uses: TopicUses
    secret: OwnedObject[CredentialSecret]
    is_other: bool
    look: BrokerObservation
    ledger: Ledger | None

    @property
    def broker(self) -> Ref:
        """Name of the broker."""
        return self.uses.broker.ref

    @property
    def is_due(self) -> bool:
        """Whether the identity needs a credential there."""
        return bool(self.uses.live) and self.uses.broker.spec.mode is BrokerMode.ENFORCE


@dataclass(frozen=True, slots=True)
class BrokerCredentials:
    """Brokers at which an identity may need a credential, and Secrets that no grant needs.

    `holders` has the broker of each Secret. Two brokers of the same name would share one Secret. It
    stays with the broker that it names.
    """

    uses: tuple[BrokerUse, ...]
    holders: Mapping[Ref, Ref]
    leftovers: tuple[Leftover, ...]


NONE = BrokerCredentials((), {}, ())
"""No credential and no change, for an identity whose grants cannot be read."""


def gather_credentials(identity: ServiceIdentity, reader: Reader) -> BrokerCredentials:
    """Return what is known of an identity's credentials at brokers.

    A broker that authenticates clients by certificate has none.
    """
    grants = reader.grants_for_identity(identity.ref)
    uses = tuple(
        _use(identity.ref, each, reader)
        for each in topic_uses(grants, reader.messaging)
        if each.fault is not None or not each.broker.spec.by_certificate
    )
    holders = _holders(uses)
    leftovers = tuple(gather_leftovers(identity, holders.keys(), reader))
    return BrokerCredentials(uses, holders, leftovers)


def _use(identity: Ref, uses: TopicUses, reader: Reader) -> BrokerUse:
    broker = uses.broker.ref
    ref = credential_ref(identity, broker)
    return BrokerUse(
        uses=uses,
        secret=reader.owned("Secret", ref, reader.credential(identity, broker)),
        is_other=reader.identity_secret(ref) is not None,
        look=reader.observation(broker),
        ledger=reader.ledger(broker),
    )


def _holders(uses: Iterable[BrokerUse]) -> Mapping[Ref, Ref]:
    holders: dict[Ref, Ref] = {}
    for each in sorted(uses, key=lambda each: not each.is_due):
        ref, secret = each.secret.ref, each.secret.fact
        if ref not in holders or (secret is not None and secret.broker == each.broker):
            holders[ref] = each.broker
    return holders
